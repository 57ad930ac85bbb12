"""What each event means in our words, and that nothing odd in a published example makes it stumble."""

import json

import pytest

from infra.core.ask import Via
from infra.core.errors import Invalid
from infra.core.occasion import Kind, Nothing, Occasion
from infra.github.events import KINDS
from infra.github.occasions import occasion, settings_changed
from infra.github.payloads import Ping
from tests.world import payloads
from tests.world.webhook_examples import published


def read(event, body):
    return KINDS[event].decode(json.dumps(body).encode())


def happened(event, body=None, **changes):
    return occasion(read(event, {**(body or payloads.examples()[event]), **changes}), 77)


@pytest.mark.parametrize(
    ("event", "kind", "via", "number", "is_pull"),
    [
        ("issues", Kind.LABELED, Via.ISSUE, 3, False),
        ("issue_comment", Kind.COMMENTED, Via.COMMENT, 3, False),
        ("pull_request", Kind.OPENED, Via.PULL, 8, True),
        ("pull_request_review", Kind.REVIEWED, Via.REVIEW, 8, True),
        ("pull_request_review_comment", Kind.COMMENTED, Via.LINE, 8, True),
        ("check_run", Kind.CHECKED, Via.CHECK, 8, True),
        ("check_suite", Kind.CHECKED, Via.CHECK, 0, False),
        ("push", Kind.PUSHED, Via.PUSH, 0, False),
    ],
)
def test_each_event(event, kind, via, number, is_pull):
    found = happened(event)
    assert (found.kind, found.via, found.number, found.is_pull) == (kind, via, number, is_pull)
    assert (str(found.repository), found.installation_id, found.sender.login) == ("acme/shop", 9, "alice")


@pytest.mark.parametrize("event", ["workflow_run", "repository", "installation", "installation_repositories"])
def test_what_starts_nothing_says_why(event):
    assert happened(event).reason


@pytest.mark.parametrize(
    ("event", "action"),
    [
        ("issues", "edited"),
        ("issues", "unlabeled"),
        ("issue_comment", "edited"),
        ("issue_comment", "deleted"),
        ("pull_request", "synchronize"),
        ("pull_request_review", "edited"),
        ("pull_request_review_comment", "edited"),
        ("check_run", "created"),
        ("check_suite", "requested"),
    ],
)
def test_edits_and_the_like_start_nothing(event, action):
    assert isinstance(happened(event, action=action), Nothing)


def test_a_comment_on_a_pull_request_does_not_know_its_head():
    found = happened("issue_comment", issue=payloads.issue(8, pull=True))
    assert (found.is_pull, found.pull, found.subject) == (True, None, "pull request #8")


def test_the_head_of_a_pull_request():
    assert happened("pull_request").pull.workable
    for head in (payloads.pull(fork="eve/shop"), payloads.pull(head="x") | {}):
        found = happened("pull_request", pull_request=head)
        assert found.fork is (head["head"]["repo"]["full_name"] == "eve/shop")
    gone = payloads.pull()
    gone["head"]["repo"] = None
    assert happened("pull_request", pull_request=gone).fork


def test_a_fork_that_claims_our_name_is_a_fork():
    twin = payloads.pull()
    twin["head"]["repo"]["id"] = 666
    assert happened("pull_request", pull_request=twin).fork


def test_the_app_of_an_issue_is_whoever_created_it_and_not_who_labels_it():
    made = payloads.issue(names=("claude",), performed_via_github_app={"id": 77, "slug": "helper"})
    assert happened("issues", issue=made, action="opened").sender.app == 77
    assert happened("issues", issue=made).sender.app == 0


def test_a_push_knows_its_files_and_only_branches_count():
    assert happened("push", payloads.push(files=("b", "a"))).files == ("a", "b")
    assert isinstance(happened("push", payloads.push("refs/tags/v1")), Nothing)
    assert isinstance(happened("push", payloads.push(deleted=True)), Nothing)


@pytest.mark.parametrize(
    ("push", "changed"),
    [
        (payloads.push(files=(".claude/triggers.yaml",)), True),
        (payloads.push(files=("src/a.py",)), False),
        (payloads.push("refs/heads/other", files=(".claude/triggers.yaml",)), False),
        (payloads.push(files=("src/a.py",), forced=True), True),
    ],
)
def test_when_settings_may_have_changed(push, changed):
    assert settings_changed(read("push", push), ".claude/triggers.yaml") is changed


def test_published_examples_mean_something_or_nothing():
    """A repository's name that no forge allows is refused; nothing else goes wrong."""
    found = 0
    for event, body in published():
        if event in KINDS:
            shape = KINDS[event].decode(json.dumps({"installation": {"id": 5}, **body}).encode())
            if isinstance(shape, Ping):
                continue
            try:
                found += isinstance(occasion(shape, 1), Occasion)
            except Invalid:
                pytest.fail(f"{event}: {body.get('action')}")
    assert found == 40
