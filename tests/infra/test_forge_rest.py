"""The REST API as a client meets it: permissions, shapes, pages, conditional requests, refusals."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.forge.git.diff import hunk_up_to, lines
from tests.world.forge import APP_ID, bearer, forge_world


@pytest.fixture
async def github(tmp_path):
    async with forge_world(tmp_path) as world:
        yield world


async def an_issue(github, **fields):
    answer = await github.http.post(
        f"{github.path}/issues", headers=bearer(github.person), json={"title": "Broken", **fields}
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_each_permission_opens_its_own_doors_and_no_other(github):
    number = (await an_issue(github))["number"]
    requests = {
        ("contents", "read"): ("GET", f"{github.path}/contents/README.md", None),
        ("contents", "write"): ("POST", f"{github.path}/git/refs", {"ref": "refs/heads/x", "sha": "0" * 40}),
        ("issues", "read"): ("GET", f"{github.path}/issues/{number}", None),
        ("issues", "write"): ("POST", f"{github.path}/issues/{number}/comments", {"body": "hi"}),
        ("pull_requests", "read"): ("GET", f"{github.path}/pulls", None),
        ("pull_requests", "write"): ("POST", f"{github.path}/pulls", {"title": "t", "head": "x", "base": "main"}),
        ("checks", "write"): ("POST", f"{github.path}/check-runs", {"name": "c", "head_sha": "main"}),
        ("statuses", "write"): ("POST", f"{github.path}/statuses/main", {"state": "success"}),
    }
    order = {"read": 1, "write": 2}
    for held, level in requests:
        token = await github.installation_token(permissions={held: level})
        for (needed, at), (method, path, body) in requests.items():
            answer = await github.http.request(method, path, headers=bearer(token), json=body)
            granted = needed == held and order[at] <= order[level]
            if granted:
                assert answer.status_code not in {401, 403, 404}, (held, level, path, answer.text)
            else:
                assert answer.status_code == 403, (held, level, path)
                assert answer.json()["message"] == "Resource not accessible by integration"
                assert f"{needed}={at}" in answer.headers["x-accepted-github-permissions"]
        assert (await github.http.get(github.path, headers=bearer(token))).status_code == 200


async def test_what_may_not_be_seen_does_not_exist(github):
    vault = await github.forge.create_repository("acme", "vault", {"a": "1"})
    token = await github.installation_token()
    for path in ("", "/issues", "/contents/a", "/pulls", "/commits/main"):
        for headers in ({}, bearer(token), bearer(github.person)):
            answer = await github.http.get(f"/repos/{vault.full_name}{path}", headers=headers)
            assert (answer.status_code, answer.json()["message"]) == (404, "Not Found")


async def test_roles_of_people(github):
    read, triage = github.forge.person_token("rita"), github.forge.person_token("tom")
    github.forge.set_permission("rita", github.repo, "read")
    github.forge.set_permission("tom", github.forge.repository("acme/shop"), "triage")
    issue = await an_issue(github)
    labels = f"{github.path}/issues/{issue['number']}/labels"
    for token, status in ((read, 403), (triage, 200), (github.person, 200)):
        answer = await github.http.post(labels, headers=bearer(token), json={"labels": ["bug"]})
        assert answer.status_code == status
    opened = await github.http.post(
        f"{github.path}/issues", headers=bearer(read), json={"title": "Mine", "labels": ["bug"]}
    )
    assert (opened.status_code, opened.json()["labels"]) == (201, [])
    mine = f"{github.path}/issues/{opened.json()['number']}"
    assert (await github.http.patch(mine, headers=bearer(read), json={"state": "closed"})).status_code == 200
    theirs = f"{github.path}/issues/{issue['number']}"
    assert (await github.http.patch(theirs, headers=bearer(read), json={"state": "closed"})).status_code == 403


@pytest.mark.parametrize(
    ("login", "permission", "role"),
    [("alice", "write", "write"), ("maya", "write", "maintain"), ("you", "admin", "admin"), ("zoe", "none", "none")],
)
async def test_collaborators_permission(github, login, permission, role):
    github.forge.person_token("zoe")
    github.forge.set_permission("maya", github.repo, "maintain")
    token = bearer(await github.installation_token())
    answer = await github.http.get(f"{github.path}/collaborators/{login}/permission", headers=token)
    assert (answer.json()["permission"], answer.json()["role_name"]) == (permission, role)
    for stranger in ("nobody-at-all", "pullwright[bot]"):
        assert (
            await github.http.get(f"{github.path}/collaborators/{stranger}/permission", headers=token)
        ).status_code == 404


async def test_the_life_of_an_issue(github):
    token = bearer(await github.installation_token())
    issue = await an_issue(github, body="It is broken", labels=["bug"], assignees=["alice"])
    path = f"{github.path}/issues/{issue['number']}"
    assert (issue["state"], issue["comments"], issue["user"]["login"]) == ("open", 0, "alice")
    assert issue["assignee"]["login"] == "alice"
    assert issue["html_url"] == f"{github.forge.url}/acme/shop/issues/1"
    added = await github.http.post(f"{path}/labels", headers=token, json={"labels": ["claude", "bug"]})
    assert [label["name"] for label in added.json()] == ["bug", "claude"]
    removed = await github.http.delete(f"{path}/labels/bug", headers=token)
    assert [label["name"] for label in removed.json()] == ["claude"]
    assert (await github.http.delete(f"{path}/labels/bug", headers=token)).status_code == 404
    closed = await github.http.patch(path, headers=token, json={"state": "closed", "title": "Was broken"})
    assert (closed.json()["state"], closed.json()["state_reason"]) == ("closed", "completed")
    assert closed.json()["closed_by"]["login"] == "pullwright[bot]"
    assert closed.json()["body"] == "It is broken"
    again = await github.http.patch(path, headers=token, json={"state": "open"})
    assert (again.json()["title"], again.json()["closed_at"]) == ("Was broken", None)


async def test_one_comment_edited_in_place(github):
    token = bearer(await github.installation_token(permissions={"issues": "write"}))
    number = (await an_issue(github))["number"]
    comments = f"{github.path}/issues/{number}/comments"
    made = await github.http.post(comments, headers=token, json={"body": "queued"})
    assert (made.status_code, made.json()["user"]["login"], made.json()["user"]["type"]) == (
        201,
        "pullwright[bot]",
        "Bot",
    )
    one = f"{github.path}/issues/comments/{made.json()['id']}"
    await github.http.patch(one, headers=token, json={"body": "done"})
    listed = (await github.http.get(comments, headers=token)).json()
    assert [row["body"] for row in listed] == ["done"]
    assert (await github.http.get(f"{github.path}/issues/{number}", headers=token)).json()["comments"] == 1
    assert (await github.http.post(comments, headers=token, json={"body": " "})).status_code == 422
    assert (await github.http.post(comments, headers=token, json={"body": "x" * 65_537})).status_code == 422
    assert (await github.http.delete(one, headers=token)).status_code == 204
    assert (await github.http.get(one, headers=token)).status_code == 404


async def test_reactions_come_once_and_go(github):
    token = bearer(await github.installation_token())
    number = (await an_issue(github))["number"]
    comment = (
        await github.http.post(
            f"{github.path}/issues/{number}/comments", headers=bearer(github.person), json={"body": "@claude"}
        )
    ).json()
    for subject in (f"{github.path}/issues/{number}", f"{github.path}/issues/comments/{comment['id']}"):
        statuses = [
            (await github.http.post(f"{subject}/reactions", headers=token, json={"content": "eyes"})).status_code
            for _ in range(2)
        ]
        assert statuses == [201, 200]
        assert (await github.http.get(subject, headers=token)).json()["reactions"]["eyes"] == 1
        (row,) = (await github.http.get(f"{subject}/reactions", headers=token)).json()
        assert (await github.http.delete(f"{subject}/reactions/{row['id']}", headers=token)).status_code == 204
        assert (await github.http.get(subject, headers=token)).json()["reactions"]["total_count"] == 0
        bad = await github.http.post(f"{subject}/reactions", headers=token, json={"content": "shrug"})
        assert bad.status_code == 422


async def test_pages_lead_to_each_other_and_hold_everything_once(github):
    token = bearer(await github.installation_token())
    for number in range(25):
        await github.forge.open_issue(github.repo, f"Issue {number}", labels=["even" if number % 2 == 0 else "odd"])
    seen, url = [], f"{github.path}/issues?per_page=10&state=all&direction=asc"
    while url:
        answer = await github.http.get(url, headers=token)
        seen += [row["number"] for row in answer.json()]
        url = answer.links.get("next", {}).get("url")
    assert seen == list(range(1, 26))
    first = await github.http.get(f"{github.path}/issues?per_page=10", headers=token)
    assert "page=3" in first.links["last"]["url"]
    assert set(first.links) == {"next", "last"}
    assert len((await github.http.get(f"{github.path}/issues?labels=odd&per_page=100", headers=token)).json()) == 12
    assert len((await github.http.get(f"{github.path}/issues?per_page=-1&page=x", headers=token)).json()) == 25
    assert (await github.http.get(f"{github.path}/issues?page=999999", headers=token)).json() == []


async def test_conditional_requests_cost_nothing(github):
    token = bearer(await github.installation_token())
    first = await github.http.get(github.path, headers=token)
    etag, used = first.headers["etag"], int(first.headers["x-ratelimit-used"])
    again = await github.http.get(github.path, headers={**token, "if-none-match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert int(again.headers["x-ratelimit-used"]) == used
    await github.forge.open_issue(github.repo, "news")
    changed = await github.http.get(github.path, headers={**token, "if-none-match": etag})
    assert changed.status_code == 200


async def test_the_rate_limit_ends_and_says_when_it_begins_again(github):
    token = bearer(await github.installation_token())
    github.forge.limits.limit = 2
    statuses = [(await github.http.get(github.path, headers=token)) for _ in range(3)]
    assert [answer.status_code for answer in statuses] == [200, 200, 403]
    assert statuses[-1].headers["x-ratelimit-remaining"] == "0"
    assert int(statuses[-1].headers["x-ratelimit-reset"]) > github.clock() // 1000
    assert "rate limit exceeded" in statuses[-1].json()["message"]
    github.clock.forward(3_600_000)
    assert (await github.http.get(github.path, headers=bearer(await github.installation_token()))).status_code == 200


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 400),
        (b"\xff", 400),
        (b"[]", 400),
        (b'{"body": "no title"}', 422),
        (b'{"title": ["no"]}', 422),
        (b'{"title": " "}', 422),
        (b'{"title": "t", "labels": [{}]}', 422),
        (b'{"title": "t", "assignees": ["nobody-at-all"]}', 422),
        (b'{"title": "' + b"x" * 257 + b'"}', 422),
    ],
)
async def test_bad_bodies_are_refused_in_githubs_shape(github, content, status):
    answer = await github.http.post(f"{github.path}/issues", headers=bearer(github.person), content=content)
    assert answer.status_code == status
    body = answer.json()
    assert {"message", "documentation_url", "status"} <= set(body)
    assert status == 400 or body["errors"][0]["field"]


async def test_what_is_not_there_answers_404_in_githubs_shape(github):
    token = bearer(await github.installation_token())
    for method, path in (("GET", "/nothing"), ("DELETE", github.path), ("GET", f"{github.path}/issues/99")):
        answer = await github.http.request(method, path, headers=token)
        assert (answer.status_code, answer.json()["message"]) == (404, "Not Found")
        assert answer.headers["x-github-request-id"]


async def test_branches_refs_commits_and_contents(github):
    token = bearer(await github.installation_token())
    main = (await github.http.get(f"{github.path}/branches/main", headers=token)).json()["commit"]["sha"]
    for ref in ("main", "heads/main", main, main[:10]):
        assert (await github.http.get(f"{github.path}/commits/{ref}", headers=token)).json()["sha"] == main
    plain = await github.http.get(
        f"{github.path}/commits/main", headers={**token, "accept": "application/vnd.github.sha"}
    )
    assert plain.text == main
    for ref in ("nope", "--help", "main^", "main..main", "0" * 40):
        assert (await github.http.get(f"{github.path}/commits/{ref}", headers=token)).status_code == 422
    made = await github.http.post(f"{github.path}/git/refs", headers=token, json={"ref": "refs/heads/a/b", "sha": main})
    assert made.status_code == 201
    twice = await github.http.post(
        f"{github.path}/git/refs", headers=token, json={"ref": "refs/heads/a/b", "sha": main}
    )
    assert twice.json()["message"] == "Reference already exists"
    for ref in ("refs/heads/a b", "refs/heads/../x", "refs/heads/-x/.lock", "main"):
        body = {"ref": ref, "sha": main}
        assert (await github.http.post(f"{github.path}/git/refs", headers=token, json=body)).status_code == 422
    assert (await github.http.get(f"{github.path}/branches/a/b", headers=token)).json()["name"] == "a/b"
    assert (await github.http.delete(f"{github.path}/git/refs/heads/a/b", headers=token)).status_code == 204
    assert (await github.http.get(f"{github.path}/git/ref/heads/a/b", headers=token)).status_code == 404
    assert (await github.http.delete(f"{github.path}/git/refs/heads/main", headers=token)).status_code == 422
    file = (await github.http.get(f"{github.path}/contents/src/cart.py?ref=main", headers=token)).json()
    assert base64.b64decode(file["content"]).startswith(b"def total")
    raw = await github.http.get(
        f"{github.path}/contents/README.md", headers={**token, "accept": "application/vnd.github.raw+json"}
    )
    assert raw.text.startswith("# Shop")
    listed = (await github.http.get(f"{github.path}/contents/src", headers=token)).json()
    assert [(row["path"], row["type"]) for row in listed] == [("src/cart.py", "file")]
    root = (await github.http.get(f"{github.path}/contents", headers=token)).json()
    assert {row["name"]: row["type"] for row in root} == {"README.md": "file", "src": "dir"}
    for path in ("no", "src/no", "../x", ":(glob)*"):
        assert (await github.http.get(f"{github.path}/contents/{path}", headers=token)).status_code == 404


async def test_checks_and_statuses(github):
    token = bearer(await github.installation_token())
    runs = f"{github.path}/check-runs"
    made = await github.http.post(
        runs, headers=token, json={"name": "claude", "head_sha": "main", "status": "in_progress"}
    )
    assert (made.status_code, made.json()["app"]["id"], made.json()["conclusion"]) == (201, APP_ID, None)
    one = f"{runs}/{made.json()['id']}"
    output = {"title": "Done", "summary": "All good", "annotations": [{"path": "a"}]}
    done = await github.http.patch(one, headers=token, json={"conclusion": "success", "output": output})
    assert (done.json()["status"], done.json()["completed_at"] is not None) == ("completed", True)
    assert done.json()["output"]["annotations_count"] == 1
    listed = (await github.http.get(f"{github.path}/commits/main/check-runs", headers=token)).json()
    assert (listed["total_count"], listed["check_runs"][0]["conclusion"]) == (1, "success")
    for bad in ({"status": "completed"}, {"conclusion": "great"}, {"output": {"title": "no summary"}}):
        body = {"name": "c", "head_sha": "main", **bad}
        assert (await github.http.post(runs, headers=token, json=body)).status_code == 422
    refused = await github.http.post(runs, headers=bearer(github.person), json={"name": "c", "head_sha": "main"})
    assert refused.status_code == 403
    main = (await github.http.get(f"{github.path}/commits/main", headers=token)).json()["sha"]
    for state in ("pending", "success"):
        status = await github.http.post(
            f"{github.path}/statuses/{main}", headers=token, json={"state": state, "context": "ci"}
        )
        assert status.status_code == 201
    combined = (await github.http.get(f"{github.path}/commits/main/status", headers=token)).json()
    assert (combined["state"], combined["total_count"]) == ("success", 1)


@given(st.lists(st.sampled_from(["+a", "-b", " c", "\\ No newline at end of file"]), max_size=30))
def test_each_shown_line_has_the_number_it_has_in_its_file(body):
    """Counting again from the text alone gives the same numbers, and each of them can be commented on."""
    patch = "\n".join(["@@ -10,9 +20,9 @@ def f():", *body])
    old, new = 10, 20
    for text, line in zip(body, list(lines(patch))[1:], strict=True):
        assert line.text == text
        assert line.old == (old if text[0] in "- " else None)
        assert line.new == (new if text[0] in "+ " else None)
        old, new = old + (text[0] in "- "), new + (text[0] in "+ ")
        if line.new is not None:
            assert (hunk_up_to(patch, line.new, "RIGHT") or "").endswith(text)
    assert hunk_up_to(patch, new, "RIGHT") is None
    assert hunk_up_to(patch, 19, "RIGHT") is None
