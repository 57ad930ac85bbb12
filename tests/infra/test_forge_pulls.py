"""Pull requests: opened once, shown truthfully, reviewed on their lines, merged in git."""

import asyncio

import pytest

from tests.world.forge import bearer, forge_world
from tests.world.git_client import clone, commit, succeed

FIX = "def total(prices):\n    return round(sum(prices), 2)\n"


@pytest.fixture
async def github(tmp_path):
    async with forge_world(tmp_path) as world:
        yield world


@pytest.fixture
async def work(github, tmp_path):
    """A clone with branch ``fix`` pushed: one changed and one new file."""
    work = await clone(github.clone_url(github.person), tmp_path / "work")
    await commit(work, "src/cart.py", FIX, "Round the total", branch="fix")
    await commit(work, "CHANGES", "rounded\n", "Say so")
    await succeed("push", "--quiet", "origin", "fix", cwd=work)
    return work


@pytest.fixture
async def token(github):
    return bearer(await github.installation_token())


async def open_pull(github, headers, **fields):
    body = {"title": "Round", "head": "fix", "base": "main", "body": "Closes #1", **fields}
    return await github.http.post(f"{github.path}/pulls", headers=headers, json=body)


async def test_a_pull_request_shows_what_git_knows(github, work, token):
    made = await open_pull(github, token)
    pull = made.json()
    assert made.status_code == 201
    assert (pull["commits"], pull["changed_files"], pull["additions"], pull["deletions"]) == (2, 2, 2, 1)
    assert (pull["head"]["label"], pull["head"]["sha"]) == ("acme:fix", await succeed("rev-parse", "fix", cwd=work))
    assert (pull["mergeable"], pull["mergeable_state"], pull["merged"]) == (True, "clean", False)
    assert pull["user"]["login"] == "pullwright[bot]"
    path = f"{github.path}/pulls/{pull['number']}"
    files = {row["filename"]: row for row in (await github.http.get(f"{path}/files", headers=token)).json()}
    assert files["CHANGES"]["status"] == "added"
    assert files["src/cart.py"]["patch"].startswith("@@ -1,2 +1,2 @@")
    listed = (await github.http.get(f"{path}/commits", headers=token)).json()
    assert [row["commit"]["message"] for row in listed] == ["Round the total", "Say so"]
    diff = await github.http.get(path, headers={**token, "accept": "application/vnd.github.diff"})
    assert "+    return round(sum(prices), 2)" in diff.text
    compared = (await github.http.get(f"{github.path}/compare/main...fix", headers=token)).json()
    assert (compared["status"], compared["ahead_by"], len(compared["files"])) == ("ahead", 2, 2)
    assert github.forge.world.refs.all(github.repo.id)["refs/pull/1/head"] == pull["head"]["sha"]


async def test_there_is_one_open_pull_request_per_branch(github, work, token):
    """Also when the requests come at the same instant."""
    answers = await asyncio.gather(*(open_pull(github, token) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201, *[422] * 7]
    refused = next(answer.json() for answer in answers if answer.status_code == 422)
    assert refused["message"] == "Validation Failed"
    assert refused["errors"] == [
        {"resource": "PullRequest", "code": "custom", "message": "A pull request already exists for acme:fix."}
    ]
    opened = next(answer.json() for answer in answers if answer.status_code == 201)
    await github.http.patch(f"{github.path}/pulls/{opened['number']}", headers=token, json={"state": "closed"})
    assert (await open_pull(github, token)).status_code == 201


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"head": "nope"}, {"resource": "PullRequest", "field": "head", "code": "invalid"}),
        ({"head": "stranger:fix"}, {"resource": "PullRequest", "field": "head", "code": "invalid"}),
        ({"base": "nope"}, {"resource": "PullRequest", "field": "base", "code": "invalid"}),
        (
            {"head": "main"},
            {"resource": "PullRequest", "code": "custom", "message": "No commits between main and main"},
        ),
        ({"title": ""}, {"resource": "PullRequest", "field": "title", "code": "missing_field"}),
    ],
)
async def test_impossible_pull_requests_are_refused_with_the_reason(github, work, token, fields, error):
    answer = await open_pull(github, token, **fields)
    assert (answer.status_code, answer.json()["errors"]) == (422, [error])


async def test_pull_requests_are_found_by_head_and_state(github, work, token):
    first = (await open_pull(github, token, head="acme:fix")).json()["number"]
    await github.http.patch(f"{github.path}/pulls/{first}", headers=token, json={"state": "closed"})
    second = (await open_pull(github, token)).json()["number"]

    async def numbers(query):
        answer = await github.http.get(f"{github.path}/pulls?{query}", headers=token)
        return [row["number"] for row in answer.json()]

    assert await numbers("head=acme:fix&state=all") == [second, first]
    assert await numbers("head=acme:fix") == [second]
    assert await numbers("head=acme:other&state=all") == []
    assert await numbers("base=other&state=all") == []
    assert await numbers("state=closed") == [first]


async def test_a_push_moves_the_pull_request_and_deleting_the_branch_closes_it(github, work, token):
    path = f"{github.path}/pulls/{(await open_pull(github, token)).json()['number']}"
    sha = await commit(work, "more", "1", "More")
    await succeed("push", "--quiet", "origin", "fix", cwd=work)
    pull = (await github.http.get(path, headers=token)).json()
    assert (pull["head"]["sha"], pull["commits"]) == (sha, 3)
    await succeed("push", "--quiet", "origin", ":fix", cwd=work)
    pull = (await github.http.get(path, headers=token)).json()
    assert (pull["state"], pull["merged"], pull["head"]["sha"]) == ("closed", False, sha)
    assert (await github.http.patch(path, headers=token, json={"state": "open"})).status_code == 422


@pytest.mark.parametrize(("method", "parents"), [("merge", 2), ("squash", 1)])
async def test_merging_changes_the_branch_in_git_and_closes_what_it_closes(github, work, token, method, parents):
    await github.forge.open_issue(github.repo, "Totals are long")
    number = (await open_pull(github, token)).json()["number"]
    path = f"{github.path}/pulls/{number}/merge"
    assert (await github.http.get(path, headers=token)).status_code == 404
    stale = await github.http.put(path, headers=token, json={"sha": "0" * 40})
    assert stale.status_code == 409
    merged = await github.http.put(path, headers=token, json={"merge_method": method})
    assert (merged.status_code, merged.json()["merged"]) == (200, True)
    await succeed("checkout", "--quiet", "main", cwd=work)
    await succeed("pull", "--quiet", cwd=work)
    assert await succeed("rev-parse", "HEAD", cwd=work) == merged.json()["sha"]
    assert (work / "src/cart.py").read_text() == FIX
    assert len((await succeed("rev-list", "--parents", "-1", "HEAD", cwd=work)).split()) == parents + 1
    issue = (await github.http.get(f"{github.path}/issues/1", headers=token)).json()
    assert (issue["state"], issue["state_reason"]) == ("closed", "completed")
    assert (await github.http.get(path, headers=token)).status_code == 204
    assert (await github.http.put(path, headers=token, json={})).status_code == 405


async def test_what_cannot_be_merged_says_so(github, work, token):
    number = (await open_pull(github, token)).json()["number"]
    path = f"{github.path}/pulls/{number}"
    await succeed("checkout", "--quiet", "main", cwd=work)
    await commit(work, "src/cart.py", "other = 1\n", "Conflict")
    await succeed("push", "--quiet", "origin", "main", cwd=work)
    pull = (await github.http.get(path, headers=token)).json()
    assert (pull["mergeable"], pull["mergeable_state"]) == (False, "dirty")
    refused = await github.http.put(f"{path}/merge", headers=token, json={})
    assert (refused.status_code, refused.json()["message"]) == (405, "Pull Request is not mergeable")
    assert (await github.http.put(f"{path}/merge", headers=token, json={"merge_method": "rebase"})).status_code == 405


async def test_two_merges_at_once_merge_once(github, work, token):
    number = (await open_pull(github, token)).json()["number"]
    path = f"{github.path}/pulls/{number}/merge"
    answers = await asyncio.gather(*(github.http.put(path, headers=token, json={}) for _ in range(4)))
    assert all(answer.status_code in {405, 409} for answer in answers if answer.status_code != 200)
    assert sum(answer.status_code == 200 for answer in answers) == 1


async def test_a_protected_branch_is_reached_by_merging(github, tmp_path):
    repo = await github.forge.create_repository("acme", "guarded", {"a": "1"}, protected=True)
    github.forge.install_app(4711, "acme", [repo])
    repo = github.forge.set_permission("alice", repo, "write")
    work = await clone(github.clone_url(github.person, repo), tmp_path / "guarded")
    await commit(work, "b", "1", "b", branch="fix")
    await succeed("push", "--quiet", "origin", "fix", cwd=work)
    headers = bearer(await github.installation_token())
    made = await github.http.post(
        "/repos/acme/guarded/pulls", headers=headers, json={"title": "b", "head": "fix", "base": "main"}
    )
    merged = await github.http.put(f"/repos/acme/guarded/pulls/{made.json()['number']}/merge", headers=headers, json={})
    assert merged.status_code == 200
    head = (await github.http.get("/repos/acme/guarded/git/ref/heads/fix", headers=headers)).json()["object"]["sha"]
    moved = await github.http.patch(
        "/repos/acme/guarded/git/refs/heads/main", headers=headers, json={"sha": head, "force": True}
    )
    assert moved.status_code == 422


async def test_a_review_with_comments_on_lines_and_an_answer(github, work, token):
    number = (await open_pull(github, token)).json()["number"]
    path, alice = f"{github.path}/pulls/{number}", bearer(github.person)
    review = await github.http.post(
        f"{path}/reviews",
        headers=alice,
        json={
            "body": "Nearly",
            "event": "REQUEST_CHANGES",
            "comments": [{"path": "src/cart.py", "line": 2, "body": "Decimal?"}],
        },
    )
    assert (review.status_code, review.json()["state"]) == (200, "CHANGES_REQUESTED")
    (comment,) = (await github.http.get(f"{path}/comments", headers=token)).json()
    assert (comment["line"], comment["side"], comment["path"]) == (2, "RIGHT", "src/cart.py")
    assert comment["diff_hunk"].endswith("+    return round(sum(prices), 2)")
    assert comment["pull_request_review_id"] == review.json()["id"]
    answer = await github.http.post(
        f"{path}/comments/{comment['id']}/replies", headers=token, json={"body": "Floats are fine here."}
    )
    assert (answer.status_code, answer.json()["in_reply_to_id"]) == (201, comment["id"])
    assert (await github.http.get(path, headers=token)).json()["review_comments"] == 2
    edited = await github.http.patch(
        f"{github.path}/pulls/comments/{answer.json()['id']}", headers=token, json={"body": "Changed."}
    )
    assert edited.json()["body"] == "Changed."
    eyes = await github.http.post(
        f"{github.path}/pulls/comments/{comment['id']}/reactions", headers=token, json={"content": "eyes"}
    )
    assert eyes.status_code == 201


@pytest.mark.parametrize(
    "comment",
    [
        {"path": "src/cart.py", "line": 99, "body": "x"},
        {"path": "README.md", "line": 1, "body": "x"},
        {"path": "src/cart.py", "line": 2, "side": "UP", "body": "x"},
        {"path": "src/cart.py", "body": "x"},
        {"line": 1, "body": "x"},
    ],
)
async def test_a_review_is_all_or_nothing(github, work, token, comment):
    path = f"{github.path}/pulls/{(await open_pull(github, token)).json()['number']}"
    good = {"path": "src/cart.py", "line": 2, "body": "fine"}
    body = {"event": "COMMENT", "body": "b", "comments": [good, comment]}
    refused = await github.http.post(f"{path}/reviews", headers=token, json=body)
    assert refused.status_code == 422
    assert refused.json()["errors"]
    assert (await github.http.get(f"{path}/reviews", headers=token)).json() == []
    assert (await github.http.get(f"{path}/comments", headers=token)).json() == []


async def test_nobody_approves_their_own_work(github, work, token):
    path = f"{github.path}/pulls/{(await open_pull(github, token)).json()['number']}"
    own = await github.http.post(f"{path}/reviews", headers=token, json={"event": "APPROVE"})
    assert (own.status_code, own.json()["errors"]) == (422, ["Can not approve your own pull request"])
    other = await github.http.post(f"{path}/reviews", headers=bearer(github.person), json={"event": "APPROVE"})
    assert other.json()["state"] == "APPROVED"
    pending = await github.http.post(f"{path}/reviews", headers=token, json={"body": "later"})
    assert pending.json()["state"] == "PENDING"
    assert len((await github.http.get(f"{path}/reviews", headers=bearer(github.person))).json()) == 1
    sent = await github.http.post(
        f"{path}/reviews/{pending.json()['id']}/events", headers=token, json={"event": "COMMENT", "body": "now"}
    )
    assert (sent.json()["state"], sent.json()["body"]) == ("COMMENTED", "now")


async def test_renames_binaries_and_odd_names_are_listed(github, tmp_path, token):
    work = await clone(github.clone_url(github.person), tmp_path / "odd")
    await succeed("checkout", "--quiet", "-b", "fix", cwd=work)
    await succeed("mv", "README.md", "LIESMICH ä.md", cwd=work)
    (work / "logo.bin").write_bytes(bytes(range(256)))
    (work / "src/cart.py").unlink()
    (work / "src/cart.py").symlink_to("../LIESMICH ä.md")
    await commit(work, "diff --git a", "@@ -1 +1 @@\ndiff --git a/x b/x\n", "odd")
    await succeed("push", "--quiet", "origin", "fix", cwd=work)
    number = (await open_pull(github, token)).json()["number"]
    rows = (await github.http.get(f"{github.path}/pulls/{number}/files", headers=token)).json()
    files = {row["filename"]: row for row in rows}
    assert set(files) == {"LIESMICH ä.md", "logo.bin", "src/cart.py", "diff --git a"}
    assert files["LIESMICH ä.md"]["previous_filename"] == "README.md"
    assert "patch" not in files["logo.bin"]
    assert files["src/cart.py"]["status"] == "changed"
    assert files["diff --git a"]["patch"] == "@@ -0,0 +1,2 @@\n+@@ -1 +1 @@\n+diff --git a/x b/x"
