"""The GitHub door with everything behind it: a project's triggers, GitHub's word about people, forks and bots."""

import json

import pytest

from infra.core.run import State
from infra.core.triggers import PATH
from infra.local.forge.faults import Fault
from tests.world import payloads
from tests.world.contributor import Contributor
from tests.world.forge import key_pair
from tests.world.webhook_examples import published

MENTION = "triggers:\n- on: mention\n  handle: '@bot'\n"


@pytest.fixture
def alice(plane, tmp_path):
    return Contributor(plane.github, tmp_path)


def pushed(plane):
    """What GitHub tells of a push that changed the triggers."""
    push = payloads.push(files=(PATH,)) | {"installation": {"id": plane.github.installation.id}}
    return plane.deliver(push, event="push")


def comment(plane, said="@claude fix it", *, by="alice", event="issue_comment", **parts):
    about = {} if "pull_request" in parts else {"issue": payloads.issue(3)}
    body = payloads.delivered(
        sender=by,
        installation=plane.github.installation.id,
        action="created",
        **({**about, "comment": payloads.comment(said, by=by)} | parts),
    )
    return plane.deliver(body, event=event)


async def only_run(plane):
    (run,) = (await plane.services.runs.list()).runs
    return run


async def test_a_mention_by_somebody_who_may_write_starts_a_run(plane):
    answer = await comment(plane)
    assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
    run = await only_run(plane)
    assert (run.origin.kind, run.origin.issue, run.origin.comment) == ("github_issue", 3, 501)
    assert [(ask.actor, ask.text, ask.trigger) for ask in run.asks] == [("alice", "@claude fix it", "mention")]


@pytest.mark.parametrize("role", ["read", "triage", None])
async def test_a_stranger_s_mention_is_refused_at_the_door_whatever_the_payload_says(plane, role):
    if role:
        plane.github.forge.set_permission("mallory", plane.github.repo, role)
    answer = await comment(plane, by="mallory")  # author_association says OWNER
    assert (answer.status_code, answer.json()["status"]) == (200, "refused")
    assert "mallory has" in answer.json()["reason"]
    assert (await plane.services.runs.list()).runs == ()


@pytest.mark.parametrize("status", [500, 403])
async def test_without_github_s_word_nothing_starts_and_the_delivery_counts_as_failed(plane, status):
    await comment(plane, "no mention")  # the triggers are known
    plane.github.forge.faults.add(Fault(method="GET", path=r".*/permission$", status=status, times=99))
    answer = await comment(plane)
    assert answer.status_code >= 400
    assert (await plane.services.runs.list()).runs == ()
    plane.github.forge.faults.clear()
    assert (await comment(plane)).status_code == 202


async def test_the_project_s_file_says_what_starts_a_run(plane, alice):
    await alice.push(PATH, MENTION)
    assert (await comment(plane, "@claude fix it")).json()["reason"] == "Nothing in it says @bot."
    assert (await plane.deliver(plane.issue(5))).json()["status"] == "ignored"
    assert (await comment(plane, "@bot fix it")).status_code == 202


async def test_a_push_to_the_default_branch_brings_new_triggers_at_once(plane, alice):
    assert (await comment(plane, "@bot fix it")).json()["status"] == "ignored"
    await alice.push(PATH, MENTION)
    assert (await pushed(plane)).status_code == 200
    assert (await comment(plane, "@bot fix it")).status_code == 202


async def test_a_broken_file_is_told_and_the_triggers_before_it_hold(plane, alice):
    await alice.push(PATH, MENTION)
    await comment(plane, "nothing")
    await alice.push(PATH, "triggers:\n- on: lable\n")
    await pushed(plane)
    reason = (await comment(plane, "still nothing")).json()["reason"]
    assert reason.startswith("Nothing in it says @bot.")
    assert f"{PATH}:2:7" in reason
    assert (await comment(plane, "@bot fix it")).status_code == 202


async def test_while_github_is_away_the_defaults_hold_and_it_is_said(plane):
    plane.github.forge.faults.add(Fault(method="GET", path=r".*/contents/.*", status=500, times=99))
    answer = await plane.deliver(plane.issue(5, label={"id": 2, "name": "bug", "color": "fff"}))
    assert "could not be read" in answer.json()["reason"]
    assert (await plane.deliver(plane.issue(5))).status_code == 202


async def test_the_file_is_asked_for_once_and_not_for_every_delivery(plane):
    asked = plane.github.forge.faults.add(Fault(method="GET", path=r".*/contents/.*", status=404, times=99))
    for number in range(5):
        await plane.deliver(plane.issue(number + 1))
    assert asked.times == 98


async def test_a_comment_on_a_pull_request_is_worked_on_at_the_head_it_had_then(plane, alice):
    sha = await alice.push("a.txt", "a", branch="feature")
    number = await alice.open_pull("feature")
    answer = await comment(plane, issue=payloads.issue(number, pull=True))
    run = await plane.run(answer.json()["run_id"])
    assert (run.ref, run.base_sha, run.head.sha, run.origin.pull) == ("feature", sha, sha, True)
    await alice.push("b.txt", "late", branch="feature")
    assert (await plane.runner().claim()).json()["assignment"]["base_sha"] == sha


async def test_a_fork_s_pull_request_is_worked_on_at_its_base(plane):
    pull = payloads.pull(fork="eve/shop", head="main", by="eve")
    body = {"pull_request": pull, "comment": payloads.line_comment("@claude look")}
    answer = await comment(plane, event="pull_request_review_comment", **body)
    run = await plane.run(answer.json()["run_id"])
    assert (run.ref, run.base_sha, run.head.fork) == ("main", "", True)
    assignment = (await plane.runner().claim()).json()["assignment"]
    assert assignment["base_sha"] != pull["head"]["sha"]


async def test_bots_by_the_id_of_their_app_only(plane, alice):
    await alice.push(PATH, "bots: [4712]\n" + MENTION)
    forge = plane.github.forge
    forge.register_app(4712, slug="helper", public_key=key_pair().public)
    forge.register_app(4713, slug="helper-evil", public_key=key_pair().public)

    async def status(login):
        bot = payloads.account(login, "Bot", 99)
        return (await comment(plane, "@bot fix it", by=bot)).json()["status"]

    assert await status("helper-evil[bot]") == "refused"
    assert await status("unknown[bot]") == "refused"
    assert await status("pullwright[bot]") in {"ignored", "refused"}
    assert await status("helper[bot]") == "accepted"


async def test_somebody_who_lost_their_rights_before_the_claim_is_blocked(plane):
    await comment(plane)
    plane.github.forge.set_permission("alice", plane.github.repo, "read")
    assert (await plane.runner().claim()).status_code == 409
    run = await only_run(plane)
    assert (run.state, run.reason.code) == (State.BLOCKED, "sender_not_permitted")


async def test_every_published_example_under_every_name_starts_nothing_wrong(plane):
    """Bodies of repositories where the App is not installed, under their own and under each other name, rightly signed."""
    names = sorted({name for name, _ in published()})
    answers = []
    for name, example in published()[::7]:
        body = json.dumps({"installation": {"id": 5}, **example}).encode()
        for other in [*names[:: len(names) // 6], name]:
            answer = await plane.deliver(body, event=other)
            answers.append(answer.status_code)
            assert answer.status_code < 500, (name, other, answer.text)
    assert (await plane.services.runs.list()).runs == ()
    assert set(answers) <= {200, 400, 422}
