"""Work on a pull request: its own branch gets the commit, the thread gets the answer, the head gets the check."""

from dataclasses import replace

import pytest

from dispatcher.engine.target import aimed
from infra.core.clock import MINUTE
from infra.core.publish_policy import PublishPolicy
from infra.core.repository import Repository
from tests.world.answers import Conversation, branch


@pytest.fixture
async def talk(plane):
    return await Conversation.on_a_pull(plane)


async def assigned(talk, run_id):
    runner = await talk.claimed(run_id)
    return runner, (await runner.claim()).json()["assignment"]


async def test_an_open_pull_request_gets_the_commits_on_its_own_branch(talk):
    run_id = await talk.start_on_pull()
    _, assignment = await assigned(talk, run_id)
    assert (assignment["pull"], assignment["branch"], assignment["ref"]) == (talk.number, "feature", "main")
    assert assignment["base_sha"] == talk.head_sha
    assert assignment["closes"] == 0
    assert assignment["co_author"]["name"] == "alice"
    assert assignment["co_author"]["email"].endswith("+alice@users.noreply.github.com")


async def test_the_head_that_was_seen_first_stays_the_base_of_all_attempts(talk):
    run_id = await talk.start_on_pull()
    await talk.claimed(run_id)
    await branch(talk.github, "feature", {"more.txt": "more\n"}, onto="feature")
    run = await talk.plane.run(run_id)
    repository = (await talk.plane.services.forge()).on(run.installation_id, Repository("acme", "shop"))
    assert await aimed(run, repository, PublishPolicy()) == run
    assert run.base_sha == talk.head_sha


async def test_a_closed_pull_request_leads_to_a_branch_of_its_own(talk):
    await talk.github.http.patch(
        f"{talk.github.path}/pulls/{talk.number}",
        json={"state": "closed"},
        headers={"authorization": f"Bearer {talk.github.person}"},
    )
    _, assignment = await assigned(talk, await talk.start_on_pull())
    assert assignment["pull"] == 0
    assert assignment["branch"].startswith("claude/run-")
    assert assignment["ref"] == "main"
    assert assignment["base_sha"] != talk.head_sha


async def test_a_pull_request_from_a_fork_or_from_the_default_branch_is_not_written_to(talk):
    run = await talk.plane.run(await talk.start_on_pull())
    repository = (await talk.plane.services.forge()).on(run.installation_id, Repository("acme", "shop"))
    pull = await repository.pull(talk.number)

    class Other:
        def __init__(self, **changes):
            self.changed = replace(pull, **changes)

        async def pull(self, number):
            return self.changed

        async def facts(self):
            return await repository.facts()

    # a fork's own commits are not put on a branch of ours either
    for other, base in ((Other(from_fork=True), ""), (Other(head_branch="main"), talk.head_sha)):
        target = await aimed(run, other, PublishPolicy())
        assert target.pull == 0
        assert target.branch == f"claude/{run.id}"
        assert target.base_sha == base


async def delivered(talk, runner, sha):
    """What a runner reports that has pushed ``sha``."""
    made = {"number": talk.number, "url": "http://forge/1", "branch": "feature", "head_sha": sha, "files_changed": 1}
    answer = await runner.settle("succeeded", delivered=made)
    assert answer.json() == {"state": "succeeded"}


async def test_the_answer_stands_in_the_thread_which_is_resolved(talk):
    run_id = await talk.start_on_pull(comment=talk.line_comment, in_thread=True)
    runner = await talk.claimed(run_id)
    sha = await branch(talk.github, "feature", {"src/cart.py": "def total(p):\n    return sum(p)\n"}, onto="feature")
    await delivered(talk, runner, sha)
    await talk.listen()
    (answer,) = await talk.thread()
    assert answer["user"]["login"] == "pullwright[bot]"
    assert answer["body"].startswith(f"Done in {sha}: 1 file changed")
    assert await talk.resolved() == [talk.line_comment]
    assert (await talk.only_comment())["body"].startswith(f"**Done:** {sha} on `feature`.")
    checks = (await talk.get(f"commits/{sha}/check-runs"))["check_runs"]
    assert [(one["name"], one["conclusion"], one["external_id"]) for one in checks] == [
        ("Pullwright", "success", run_id)
    ]


@pytest.mark.parametrize("step", ["replies", "check-runs", "api/graphql"])
@pytest.mark.parametrize("after", [False, True])
async def test_a_lost_answer_leaves_one_answer_and_one_check(talk, step, after):
    run_id = await talk.start_on_pull(comment=talk.line_comment, in_thread=True)
    runner = await talk.claimed(run_id)
    sha = await branch(talk.github, "feature", {"src/cart.py": "def total(p):\n    return sum(p)\n"}, onto="feature")
    await delivered(talk, runner, sha)
    talk.break_once("POST", step, after=after)
    for _ in range(5):
        await talk.listen()
        talk.pass_time(2 * MINUTE)
    assert talk.github.forge.faults.waiting == 0
    assert len(await talk.thread()) == 1
    assert await talk.resolved() == [talk.line_comment]
    assert (await talk.get(f"commits/{sha}/check-runs"))["total_count"] == 1
    assert await talk.due(run_id) is None


async def test_work_that_was_not_done_is_answered_and_left_unresolved(talk):
    run_id = await talk.start_on_pull(comment=talk.line_comment, in_thread=True)
    runner = await talk.claimed(run_id)
    await runner.settle("failed", reason={"code": "x", "message": "Out of turns.", "hint": "Ask for less."})
    await talk.listen()
    (answer,) = await talk.thread()
    assert answer["body"].startswith("Out of turns.\n\n**Next:** Ask for less.")
    assert await talk.resolved() == []


async def test_a_person_who_went_on_from_the_pushed_commit_makes_no_failure(talk):
    runner = await talk.claimed(await talk.start_on_pull())
    sha = await branch(talk.github, "feature", {"a.txt": "a\n"}, onto="feature")
    await branch(talk.github, "feature", {"b.txt": "b\n"}, onto="feature")
    await delivered(talk, runner, sha)


async def test_no_checks_after_the_push_are_said_where_there_used_to_be_some(talk):
    runner = await talk.claimed(await talk.start_on_pull())
    token = await talk.github.installation_token()
    check = {"name": "tests", "head_sha": talk.head_sha, "status": "completed", "conclusion": "success"}
    answer = await talk.github.http.post(
        f"{talk.github.path}/check-runs", json=check, headers={"authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 201
    sha = await branch(talk.github, "feature", {"a.txt": "a\n"}, onto="feature")
    await delivered(talk, runner, sha)
    await talk.listen()
    assert "No check has started" not in (await talk.only_comment())["body"]
    talk.pass_time(4 * MINUTE)
    await talk.listen()
    assert f"**No check has started on {sha[:12]}.**" in (await talk.only_comment())["body"]
