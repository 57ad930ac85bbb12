"""From a commit to one pull request: races, lost answers, crashes, other people's commits, refusals."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from infra.core.errors import Conflict, Forbidden, Invalid, Upstream
from infra.core.forge import NewPullRequest, PullRequest, RepositoryFacts
from infra.core.ids import RunId
from infra.core.words import commit_message, marker
from runner.clone import fetch_base
from runner.collect import Identity, collect, commit, read_changes
from runner.publish import publish, push
from runner.refusals import Unreachable
from runner.saved_work import bundle, read_commit, restore
from runner.workspace import workspace
from tests.world.git_http import git
from tests.world.git_scene import BOT, BRANCH, NOW, RUN, TOKEN, a_scene

OTHER_RUN = RunId("run-01jcqz7v8wabcdefghjkmnpqrt")


@dataclass
class Pulls:
    """A forge's pull requests, kept in memory; ``lose_answers`` makes calls take effect and then fail."""

    opened: list[PullRequest] = field(default_factory=list)
    lose_answers: int = 0
    theirs: PullRequest | None = None

    async def pull(self, number: int) -> PullRequest:
        assert self.theirs is not None
        assert self.theirs.number == number
        return self.theirs

    async def facts(self) -> RepositoryFacts:
        return RepositoryFacts(default_branch="trunk", private=False, archived=False, html_url="", clone_url="")

    async def pulls_from(self, branch: str) -> tuple[PullRequest, ...]:
        return tuple(pull for pull in reversed(self.opened) if pull.head_branch == branch)

    async def open_pull(self, new: NewPullRequest) -> PullRequest:
        for pull in self.opened:
            if pull.head_branch == new.head_branch and pull.state == "open":
                return pull
        number = len(self.opened) + 1
        pull = PullRequest(
            number=number, url=f"https://forge/pull/{number}", state="open", merged=False, head_branch=new.head_branch,
            head_sha="", base_branch=new.base_branch, title=new.title, body=new.body,
        )  # fmt: skip
        self.opened.append(pull)
        if self.lose_answers:
            self.lose_answers -= 1
            raise Upstream("The forge did not answer.")
        return pull


@pytest.fixture
async def scene(tmp_path):
    async with a_scene(tmp_path) as made:
        await made.clone()
        (made.ws.tree / "new.txt").write_text("x\n")
        yield made


async def publish_it(scene, forge, head, base_branch="main"):
    new = NewPullRequest(title="T", body=f"B\n\n{marker(RUN)}", head_branch=BRANCH, base_branch=base_branch)
    return (await publish(scene.git, scene.ws, scene.remote, forge, scene.work(head), new=new, pauses=(0, 0))).pull


def by_a_person(scene, *, onto: str, message: str = "mine", who: Identity | None = None) -> str:
    """Somebody puts a commit on the run's branch."""
    bare = scene.world.bare("project")
    env = {}
    if who:
        env = {"GIT_COMMITTER_NAME": who.name, "GIT_COMMITTER_EMAIL": who.email}
    sha = git("commit-tree", f"{onto}^{{tree}}", "-p", onto, "-m", message, cwd=bare, env=env)
    git("update-ref", f"refs/heads/{BRANCH}", sha, cwd=bare)
    return sha


async def test_a_commit_becomes_a_branch_and_a_pull_request(scene):
    head = await scene.commit()
    pull = await publish_it(scene, Pulls(), head)
    assert (pull.number, pull.head_branch, pull.base_branch, pull.title) == (1, BRANCH, "main", "T")
    assert scene.world.tip("project", BRANCH) == head
    assert scene.world.tip("project", "main") == scene.base
    assert git("rev-list", "--count", head, cwd=scene.world.bare("project")) == "2"


async def test_without_a_base_the_default_branch_is_taken(scene):
    pull = await publish_it(scene, Pulls(), await scene.commit(), base_branch="")
    assert pull.base_branch == "trunk"


async def test_publishing_again_changes_nothing(scene):
    head = await scene.commit()
    forge = Pulls()
    first = await publish_it(scene, forge, head)
    assert await publish_it(scene, forge, head) == first
    assert len(forge.opened) == 1


async def test_an_answer_lost_by_the_push_is_asked_for_again(scene):
    head = await scene.commit()
    scene.world.lose_answers = 1
    await publish_it(scene, Pulls(), head)
    assert scene.world.tip("project", BRANCH) == head


async def test_an_answer_lost_by_the_forge_does_not_make_two(scene):
    head = await scene.commit()
    forge = Pulls(lose_answers=1)
    with pytest.raises(Upstream):
        await publish_it(scene, forge, head)
    assert (await publish_it(scene, forge, head)).number == 1
    assert len(forge.opened) == 1


async def test_a_pull_request_that_was_closed_meanwhile_is_not_opened_again(scene):
    head = await scene.commit()
    forge = Pulls()
    first = await publish_it(scene, forge, head)
    forge.opened[0] = replace(first, state="closed")
    assert (await publish_it(scene, forge, head)).state == "closed"
    assert len(forge.opened) == 1


async def test_an_earlier_attempt_of_this_run_is_replaced(scene):
    await push(scene.git, scene.ws, scene.remote, scene.work(await scene.commit(now=NOW)), pauses=())
    (scene.ws.tree / "new.txt").write_text("better\n")
    head = await scene.commit(now=NOW + 60_000)
    await push(scene.git, scene.ws, scene.remote, scene.work(head), pauses=())
    assert scene.world.tip("project", BRANCH) == head


@pytest.mark.parametrize("case", ["a person's", "another run's", "our name, no trailer", "trailer, not our name"])
async def test_ours_goes_on_top_of_what_somebody_else_has_put_there(scene, case):
    head = await scene.commit()
    message, who = {
        "a person's": ("mine", None),
        "another run's": (commit_message("Fix it", OTHER_RUN), BOT),
        "our name, no trailer": (f"Pullwright-Run: {RUN}\n\nnot last", BOT),
        "trailer, not our name": (commit_message("Fix it", RUN), None),
    }[case]
    theirs = by_a_person(scene, onto=scene.base, message=message, who=who)
    await publish_it(scene, Pulls(), head)
    bare, tip = scene.world.bare("project"), scene.world.tip("project", BRANCH)
    assert git("rev-parse", f"{tip}^", cwd=bare) == theirs
    assert git("show", f"{tip}:new.txt", cwd=bare) == "x"
    assert git("log", "-1", "--format=%cn %ct%n%B", tip, cwd=bare).startswith(f"{BOT.name} {NOW // 1000}\nFix it")
    await publish_it(scene, Pulls(), head)
    assert scene.world.tip("project", BRANCH) == tip


@pytest.mark.parametrize("case", ["the same lines", "other base"])
async def test_what_cannot_be_merged_is_left_as_it_is(scene, case):
    head = await scene.commit()
    bare = scene.world.bare("project")
    if case == "other base":
        onto = git("commit-tree", f"{scene.base}^{{tree}}", "-m", "other", cwd=bare)
    else:
        blob = git("hash-object", "-w", "--stdin", cwd=bare, stdin=b"something else\n")
        tree = git("ls-tree", scene.base, cwd=bare) + f"\n100644 blob {blob}\tnew.txt\n"
        onto = git(
            "commit-tree", git("mktree", cwd=bare, stdin=tree.encode()), "-p", scene.base, "-m", "mine", cwd=bare
        )
    theirs = by_a_person(scene, onto=onto)
    forge = Pulls()
    with pytest.raises(Conflict) as caught:
        await publish_it(scene, forge, head)
    assert caught.value.code == "branch_taken"
    assert scene.world.tip("project", BRANCH) == theirs
    assert forge.opened == []


async def test_a_person_who_went_on_from_our_commit_is_left_in_peace(scene):
    head = await scene.commit()
    await push(scene.git, scene.ws, scene.remote, scene.work(head), pauses=())
    theirs = by_a_person(scene, onto=head)
    assert await push(scene.git, scene.ws, scene.remote, scene.work(head), pauses=()) == head
    assert scene.world.tip("project", BRANCH) == theirs


async def test_a_commit_that_slips_in_during_the_push_is_not_lost(scene):
    await push(scene.git, scene.ws, scene.remote, scene.work(await scene.commit(now=NOW)), pauses=())
    (scene.ws.tree / "other.txt").write_text("y\n")
    head = await scene.commit(now=NOW + 60_000)
    slipped: list[str] = []
    first = scene.world.tip("project", BRANCH)
    scene.world.before_push = lambda: slipped or slipped.append(by_a_person(scene, onto=first))
    ours = await push(scene.git, scene.ws, scene.remote, scene.work(head), pauses=())
    assert scene.world.tip("project", BRANCH) == ours
    assert git("rev-parse", f"{ours}^", cwd=scene.world.bare("project")) == slipped[0]


async def test_an_open_pull_request_gets_the_commit_itself(scene):
    bare = scene.world.bare("project")
    git("update-ref", "refs/heads/feature/x", scene.base, cwd=bare)
    pull = PullRequest(
        number=7, url="https://forge/pull/7", state="open", merged=False, head_branch="feature/x", head_sha=scene.base,
        base_branch="main", title="", body="",
    )  # fmt: skip
    forge = Pulls(theirs=pull)
    work = replace(scene.work(await scene.commit()), branch="feature/x", pull=7)
    new = NewPullRequest(title="T", body="B", head_branch="feature/x", base_branch="main")
    for _ in range(2):
        done = await publish(scene.git, scene.ws, scene.remote, forge, work, new=new, pauses=())
        assert (done.pull.number, done.head_sha) == (7, work.head_sha)
    assert scene.world.tip("project", "feature/x") == work.head_sha
    assert forge.opened == []
    git("update-ref", "-d", "refs/heads/feature/x", cwd=bare)
    with pytest.raises(Conflict) as caught:
        await publish(scene.git, scene.ws, scene.remote, forge, work, new=new, pauses=())
    assert caught.value.code == "branch_gone"


async def test_a_branch_deleted_during_the_race_is_made_again(scene):
    await push(scene.git, scene.ws, scene.remote, scene.work(await scene.commit(now=NOW)), pauses=())
    head = await scene.commit(now=NOW + 60_000)
    bare = scene.world.bare("project")
    scene.world.before_push = lambda: git("update-ref", "-d", f"refs/heads/{BRANCH}", cwd=bare)
    await push(scene.git, scene.ws, scene.remote, scene.work(head), pauses=())
    assert scene.world.tip("project", BRANCH) == head


async def test_two_attempts_at_once_end_with_one_of_their_commits(scene):
    heads = [await scene.commit(now=NOW + second * 1000) for second in range(3)]
    ends = await asyncio.gather(
        *(push(scene.git, scene.ws, scene.remote, scene.work(head), pauses=(0,)) for head in heads),
        return_exceptions=True,
    )
    assert scene.world.tip("project", BRANCH) in heads
    assert scene.world.tip("project", BRANCH) in ends
    assert all(isinstance(end, str | Conflict) for end in ends)


@pytest.mark.parametrize(
    "branch",
    ["main", "refs/heads/main", "claude/", "claude/x", f"refs/heads/{BRANCH}", f"{BRANCH}:refs/heads/main", f"{BRANCH}\n", f"-{BRANCH}", f"{BRANCH}/..", "+" + BRANCH],
)  # fmt: skip
async def test_only_plain_branch_names_are_pushed(scene, branch):
    head = await scene.commit()
    scene.world.seen.clear()
    with pytest.raises(Invalid) as caught:
        await push(scene.git, scene.ws, scene.remote, replace(scene.work(head), branch=branch), pauses=())
    assert caught.value.code in {"invalid_branch", "invalid_ref"}
    assert scene.world.seen == []


async def test_a_read_token_cannot_push(scene):
    head = await scene.commit()
    scene.world.tokens[TOKEN] = False
    with pytest.raises(Forbidden) as caught:
        await push(scene.git, scene.ws, scene.remote, scene.work(head), pauses=())
    assert caught.value.code == "git_forbidden"
    assert "Permission to repo denied to bot" in caught.value.message


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("refusing to allow a GitHub App to create or update workflow `.github/workflows/x.yml` without `workflows` permission", "workflow_permission"),
        ("error: GH006: Protected branch update failed for refs/heads/claude/x.", "branch_protected"),
        ("error: GH013: Repository rule violations found\\033[31m for refs/heads/claude/x.", "push_rules"),
    ],
)  # fmt: skip
async def test_the_remotes_own_words_are_passed_on(scene, words, code):
    hook = scene.world.bare("project") / "hooks" / "update"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\nprintf '%b\\n' '{words}' >&2\nexit 1\n")
    hook.chmod(0o755)
    forge = Pulls()
    with pytest.raises(Forbidden) as caught:
        await publish_it(scene, forge, await scene.commit())
    assert caught.value.code == code
    assert words.split("\\")[0] in caught.value.message
    assert caught.value.message.isprintable()
    assert forge.opened == []


async def test_trouble_that_passes_is_waited_out_and_trouble_that_stays_is_said(scene):
    head = await scene.commit()
    scene.world.statuses = [500, 503]
    await publish_it(scene, Pulls(), head)
    scene.world.statuses = [500] * 9
    with pytest.raises(Unreachable):
        await publish_it(scene, Pulls(), head)


async def test_after_a_crash_between_push_and_pull_request_the_same_commit_is_published_once(scene, tmp_path):
    head = await scene.commit()
    saved = tmp_path / "saved"
    saved.write_bytes((await bundle(scene.git, scene.ws, head=head, base_sha=scene.base)).read_bytes())
    await push(scene.git, scene.ws, scene.remote, scene.work(head), pauses=())
    forge = Pulls()
    async with workspace(tmp_path / "second", RUN) as fresh:
        scene.ws = fresh
        await fetch_base(scene.git, fresh, scene.remote, base_sha=scene.base)
        restored = await restore(scene.git, fresh, saved, base_sha=scene.base, run_id=RUN)
        changes = await read_changes(scene.git, fresh, base_sha=scene.base, tree_sha=restored)
        await publish_it(scene, forge, restored)
        await publish_it(scene, forge, restored)
    assert restored == head == scene.world.tip("project", BRANCH)
    assert [file.path for file in changes.files] == ["new.txt"]
    assert len(forge.opened) == 1


async def test_work_saved_before_the_push_is_enough(scene, tmp_path):
    head = await scene.commit()
    saved = tmp_path / "saved"
    saved.write_bytes((await bundle(scene.git, scene.ws, head=head, base_sha=scene.base)).read_bytes())
    async with workspace(tmp_path / "second", RUN) as scene.ws:
        await fetch_base(scene.git, scene.ws, scene.remote, base_sha=scene.base)
        await publish_it(scene, Pulls(), await restore(scene.git, scene.ws, saved, base_sha=scene.base, run_id=RUN))
    assert scene.world.tip("project", BRANCH) == head
    assert git("show", f"{head}:new.txt", cwd=scene.world.bare("project")) == "x"


@pytest.mark.parametrize("case", ["cut", "rubbish", "empty", "another run", "another base", "absent"])
async def test_saved_work_that_is_not_whole_or_not_ours_is_refused(scene, tmp_path, case):
    changes = await collect(scene.git, scene.ws, base_sha=scene.base)
    run = OTHER_RUN if case == "another run" else RUN
    head = await commit(scene.git, scene.ws, changes, message=commit_message("T", run), identity=BOT, now=NOW)
    if case == "another base":
        later = replace(changes, base_sha=head)
        head = await commit(scene.git, scene.ws, later, message=commit_message("T", run), identity=BOT, now=NOW)
    saved = tmp_path / "saved"
    whole = (await bundle(scene.git, scene.ws, head=head, base_sha=scene.base)).read_bytes()
    content = {"cut": whole[:-30], "rubbish": b"rubbish", "empty": b""}.get(case, whole)
    if case != "absent":
        saved.write_bytes(content)
    async with workspace(tmp_path / "second", RUN) as fresh:
        await fetch_base(scene.git, fresh, scene.remote, base_sha=scene.base)
        with pytest.raises(Invalid) as caught:
            await restore(scene.git, fresh, saved, base_sha=scene.base, run_id=RUN)
    assert caught.value.code == "saved_work_broken"


async def test_a_commit_is_read_as_it_is(scene):
    head = await scene.commit("Naïve “fix”")
    facts = await read_commit(scene.git, scene.ws.git, head)
    assert facts.parents == (scene.base,)
    assert (facts.committer_name, facts.committer_email) == (BOT.name, BOT.email)
    assert facts.message == commit_message("Naïve “fix”", RUN)
