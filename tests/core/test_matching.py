"""The judgement: who is heard by which trigger, what has to be asked for, and that nothing unknown counts as a yes."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.core.ask import Place, PullHead, Via
from infra.core.matching import Case, Facts, Heard, Open, Question, allowed, judge
from infra.core.occasion import Check, Kind, Occasion, Sender
from infra.core.repository import Repository
from infra.core.run import Limits
from infra.core.trigger import Ignored, Policy, Refused
from infra.core.triggers import Filter, LabelFilter, Names, On, Paths, Trigger, Triggers, default_triggers

OWN_APP = 4711
POLICY = Policy(
    model="claude-opus-5-5",
    limits=Limits(budget_micros=5_000_000, wall_seconds=60, idle_seconds=60, max_turns=50),
    allowed_models=("claude-opus-5-5", "claude-haiku-4-5"),
    own_app=OWN_APP,
)
HEAD = PullHead(number=8, branch="feature", sha="a" * 40, base_branch="main", fork=False, open=True, draft=False)
FORK = dataclasses.replace(HEAD, fork=True)
MAY = Facts(permission="write")


def occasion(kind=Kind.LABELED, via=Via.ISSUE, **changes):
    facts = {
        "repository": Repository("acme", "shop"),
        "installation_id": 9,
        "default_branch": "main",
        "sender": Sender(login="alice", bot=False),
        "author": "bob",
        "at": 1,
        "number": 3,
        "title": "Totals are wrong",
        "body": "They are off by one.",
        "said": "They are off by one.",
        "url": "https://github.com/acme/shop/issues/3",
        "label": "claude",
        "labels": ("claude", "bug"),
    }
    return Occasion(kind=kind, via=via, **(facts | changes))


def commented(said="@claude fix it", **changes):
    return occasion(Kind.COMMENTED, Via.COMMENT, **({"said": said, "id": 501, "label": "", "labels": ()} | changes))


def on_pull(kind, via, pull=HEAD, **changes):
    return occasion(kind, via, **({"number": 8, "is_pull": True, "pull": pull, "label": "", "labels": ()} | changes))


def check(conclusion="failure", *, suite=True, name="tests", **changes):
    found = Check(id=1, name=name, suite=suite, conclusion=conclusion, sha="a" * 40, branch="feature")
    return on_pull(Kind.CHECKED, Via.CHECK, check=found, ref="feature", said="", **changes)


def verdict(happened, *triggers, facts=None, bots=()):
    items = Triggers(items=triggers, bots=bots) if triggers else default_triggers("claude")
    return judge(Case(occasion=happened, triggers=items, policy=POLICY, delivery="github:1", facts=facts or Facts()))


def test_the_label_is_heard_and_nothing_is_asked():
    heard = verdict(occasion())
    assert isinstance(heard, Heard)
    ask = heard.ask
    assert (ask.actor, ask.author, ask.trigger, ask.via) == ("alice", "bob", "label", Via.ISSUE)
    assert ask.text == "Totals are wrong\n\nThey are off by one."
    assert (heard.model, heard.limits) == (POLICY.model, POLICY.limits)


def test_an_issue_opened_with_the_label_is_heard_too():
    assert isinstance(verdict(occasion(Kind.OPENED, label="")), Heard)


@pytest.mark.parametrize(
    ("happened", "reason"),
    [
        (occasion(label="bug"), "The label 'bug' is not the trigger label 'claude'."),
        (occasion(Kind.OPENED, labels=("bug",)), "The issue was opened without the trigger label 'claude'."),
        (commented("Looks good"), "Nothing in it says @claude."),
        (occasion(Kind.ASSIGNED), "No trigger is about this (issue #3, assigned)."),
        (occasion(Kind.PUSHED, Via.PUSH, number=0, ref="main"), "No trigger is about this (branch main, pushed)."),
    ],
)
def test_what_is_not_for_us_is_ignored_with_the_nearest_reason(happened, reason):
    assert verdict(happened) == Ignored(reason)


def test_a_mention_by_anybody_waits_for_the_forge_s_word():
    assert verdict(commented()) == Open(frozenset({Question.PERMISSION}))
    heard = verdict(commented(), facts=MAY)
    assert isinstance(heard, Heard)
    assert (heard.ask.text, heard.ask.id, heard.ask.permission) == ("@claude fix it", 501, "write")


@pytest.mark.parametrize("permission", ["none", "read", "triage", "", "WRITE", "something new"])
def test_less_than_write_and_unknown_words_are_a_no(permission):
    refused = verdict(commented(), facts=Facts(permission=permission))
    assert isinstance(refused, Refused)
    assert "alice has" in refused.reason


def test_a_trigger_can_ask_for_more_than_write():
    trigger = Trigger(on=On.LABEL, name="claude", filter=Filter(permission="admin"))
    assert verdict(occasion(), trigger) == Open(frozenset({Question.PERMISSION}))
    assert isinstance(verdict(occasion(), trigger, facts=Facts(permission="maintain")), Refused)
    assert isinstance(verdict(occasion(), trigger, facts=Facts(permission="admin")), Heard)


def test_a_comment_on_a_pull_request_pins_its_head():
    happened = commented(is_pull=True, number=8)
    assert verdict(happened) == Open(frozenset({Question.PULL}))
    heard = verdict(happened, facts=Facts(permission="admin", pull=HEAD))
    assert (heard.pull, heard.ask.head) == (HEAD, "a" * 40)


def test_a_line_comment_keeps_its_place():
    place = Place(path="src/cart.py", line=2, start=2, side="RIGHT", hunk="@@")
    heard = verdict(on_pull(Kind.COMMENTED, Via.LINE, said="@claude rename", place=place), facts=MAY)
    assert heard.ask.place == place


class TestBots:
    BOT = Sender(login="helper[bot]", bot=True)

    def test_refused_unless_listed_by_the_id_of_their_app(self):
        assert isinstance(verdict(occasion(sender=self.BOT)), Refused)
        label = Trigger(on=On.LABEL, name="claude")
        assert verdict(occasion(sender=self.BOT), label, bots=(77,)) == Open(frozenset({Question.APP}))
        assert isinstance(verdict(occasion(sender=self.BOT), label, bots=(77,), facts=Facts(app=78)), Refused)
        assert isinstance(verdict(occasion(sender=self.BOT), label, bots=(77,), facts=Facts(app=0)), Refused)
        heard = verdict(occasion(sender=self.BOT), label, bots=(77,), facts=Facts(app=77))
        assert heard.ask.app == 77

    @pytest.mark.parametrize("login", ["claude[bot]", "pullwright[bot]", "evil[bot]"])
    def test_a_login_proves_nothing(self, login):
        mention = Trigger(on=On.MENTION, name="claude")
        happened = commented(sender=Sender(login=login, bot=True, app=666))
        assert isinstance(verdict(happened, mention, bots=(77,), facts=MAY), Refused)

    def test_our_own_words_are_an_echo_even_when_somebody_lists_us(self):
        mention = Trigger(on=On.MENTION, name="claude")
        for sender in (
            Sender(login="pullwright[bot]", bot=True, app=OWN_APP),
            Sender(login="alice", bot=False, app=OWN_APP),
        ):
            assert verdict(commented(sender=sender), mention, bots=(OWN_APP,), facts=MAY) == Ignored(
                "This is our own doing."
            )
        unnamed = commented(sender=Sender(login="pullwright[bot]", bot=True))
        assert isinstance(verdict(unnamed, mention, bots=(OWN_APP,), facts=Facts(app=OWN_APP)), Ignored)


class TestForks:
    @pytest.mark.parametrize("on", [On.PULL_REQUEST, On.REVIEW])
    def test_a_fork_s_pull_request_starts_nothing_by_itself(self, on):
        kind = Kind.OPENED if on is On.PULL_REQUEST else Kind.REVIEWED
        trigger = Trigger(on=on, name="approved", instructions="Review it.")
        happened = on_pull(kind, Via.PULL, FORK, review_state="approved")
        assert isinstance(verdict(happened, trigger, facts=Facts(permission="admin")), Refused)

    def test_nor_do_its_failing_checks(self):
        trigger = Trigger(on=On.CI_FAILED)
        assert isinstance(verdict(check(pull=FORK), trigger), Refused)
        assert isinstance(verdict(check(pull=None), trigger, facts=Facts(pull=FORK)), Refused)

    def test_somebody_with_write_access_may_ask(self):
        heard = verdict(on_pull(Kind.COMMENTED, Via.COMMENT, FORK, said="@claude look"), facts=MAY)
        assert heard.pull.fork
        assert not heard.pull.workable


class TestKinds:
    def test_assignment(self):
        trigger = Trigger(on=On.ASSIGNMENT, name="claude-helper")
        assert isinstance(verdict(occasion(Kind.ASSIGNED, assignee="Claude-Helper"), trigger), Heard)
        assert isinstance(verdict(occasion(Kind.ASSIGNED, assignee="bob"), trigger), Ignored)

    def test_command(self):
        trigger = Trigger(on=On.COMMAND, name="fix")
        assert isinstance(verdict(commented("/fix please"), trigger, facts=MAY), Heard)
        assert isinstance(verdict(commented("please /fix"), trigger, facts=MAY), Ignored)

    def test_pull_request_opened_and_ready(self):
        trigger = Trigger(on=On.PULL_REQUEST, instructions="Review it.")
        assert isinstance(verdict(on_pull(Kind.OPENED, Via.PULL), trigger, facts=MAY), Heard)
        assert isinstance(verdict(on_pull(Kind.READY, Via.PULL), trigger, facts=MAY), Ignored)
        assert isinstance(verdict(occasion(Kind.OPENED), trigger, facts=MAY), Ignored)
        finished = dataclasses.replace(trigger, filter=Filter(draft=False))
        draft = on_pull(Kind.OPENED, Via.PULL, dataclasses.replace(HEAD, draft=True), draft=True)
        assert verdict(draft, finished, facts=MAY) == Ignored("The pull request is a draft.")
        assert isinstance(verdict(on_pull(Kind.READY, Via.PULL), finished, facts=MAY), Heard)

    def test_review(self):
        trigger = Trigger(on=On.REVIEW, name="changes_requested")
        happened = on_pull(Kind.REVIEWED, Via.REVIEW, said="Add a test.", review_state="changes_requested")
        heard = verdict(happened, trigger, facts=MAY)
        assert (heard.ask.text, heard.ask.instructions) == ("Add a test.", "Address the review of this pull request.")
        assert isinstance(verdict(dataclasses.replace(happened, review_state="approved"), trigger, facts=MAY), Ignored)

    def test_a_suite_speaks_for_its_checks_unless_the_trigger_names_them(self):
        assert isinstance(verdict(check(), Trigger(on=On.CI_FAILED)), Heard)
        assert isinstance(verdict(check(suite=False), Trigger(on=On.CI_FAILED)), Ignored)
        named = Trigger(on=On.CI_FAILED, filter=Filter(checks=Names(only=("test*",))))
        assert isinstance(verdict(check(suite=False), named), Heard)
        assert isinstance(verdict(check(), named), Ignored)
        assert isinstance(verdict(check(suite=False, name="lint"), named), Ignored)

    @pytest.mark.parametrize("conclusion", ["success", "neutral", "cancelled", "skipped", "stale"])
    def test_only_failures_are_failures(self, conclusion):
        assert isinstance(verdict(check(conclusion), Trigger(on=On.CI_FAILED)), Ignored)

    def test_push(self):
        trigger = Trigger(on=On.PUSH, filter=Filter(branches=Names(only=("release/*",))), instructions="Update notes.")
        pushed = occasion(Kind.PUSHED, Via.PUSH, number=0, ref="release/1", sha="b" * 40, files=("a",), said="")
        assert verdict(pushed, trigger).ask.head == "b" * 40
        assert isinstance(verdict(dataclasses.replace(pushed, ref="main"), trigger), Ignored)


class TestFilters:
    def trigger(self, **filters):
        return Trigger(on=On.MENTION, name="claude", filter=Filter(**filters))

    @pytest.mark.parametrize(
        ("filters", "passes"),
        [
            ({"authors": Names(only=("ali*",))}, True),
            ({"authors": Names(only=("ALICE",))}, True),
            ({"authors": Names(only=("bob",))}, False),
            ({"authors": Names(never=("alice",))}, False),
            ({"labels": LabelFilter(all=("Bug", "ui"))}, True),
            ({"labels": LabelFilter(all=("bug", "docs"))}, False),
            ({"labels": LabelFilter(any=("docs", "ui"))}, True),
            ({"labels": LabelFilter(none=("ui",))}, False),
            ({"branches": Names(only=("main", "release/*"))}, True),
            ({"branches": Names(never=("main",))}, False),
            ({"draft": False}, True),
            ({"draft": True}, False),
            ({"files": Paths(only=("src",))}, True),
            ({"files": Paths(only=("docs/**",))}, False),
            ({"files": Paths(never=("*.md",))}, True),
            ({"teams": ("backend", "core")}, True),
            ({"teams": ("core",)}, False),
        ],
    )
    def test_each(self, filters, passes):
        happened = on_pull(Kind.COMMENTED, Via.COMMENT, said="@claude fix", labels=("bug", "ui"))
        facts = Facts(permission="write", files=("src/cart.py", "README.md"), teams=frozenset({"backend"}))
        found = verdict(happened, self.trigger(**filters), facts=facts)
        assert isinstance(found, Heard if passes else Ignored)
        assert passes or found.reason

    def test_asked_only_when_it_matters(self):
        happened = on_pull(Kind.COMMENTED, Via.COMMENT, said="@claude fix")
        filters = {"files": Paths(only=("src",)), "teams": ("backend",)}
        assert verdict(happened, self.trigger(**filters)) == Open(
            frozenset({Question.FILES, Question.TEAMS}), ("backend",)
        )
        assert isinstance(verdict(happened, self.trigger(**filters, authors=Names(only=("bob",)))), Ignored)

    def test_the_next_trigger_gets_its_turn(self):
        triggers = (self.trigger(authors=Names(only=("bob",))), self.trigger(permission="admin"))
        assert verdict(commented(), *triggers, facts=Facts(permission="admin")).trigger is triggers[1]


class TestOptions:
    def test_within_what_the_operator_allows(self):
        heard = verdict(commented("@claude model=claude-haiku-4-5 budget=2 turns=10 fix"), facts=MAY)
        assert (heard.model, heard.limits.budget_micros, heard.limits.max_turns) == ("claude-haiku-4-5", 2_000_000, 10)

    @pytest.mark.parametrize("option", ["model=gpt-x", "budget=50", "turns=51", "colour=red"])
    def test_not_beyond(self, option):
        refused = verdict(commented(f"@claude {option} fix"), facts=MAY)
        assert isinstance(refused, Refused)


logins = st.sampled_from(["alice", "helper[bot]", "pullwright[bot]"])
senders = st.builds(Sender, login=logins, bot=st.booleans(), app=st.sampled_from([0, 77, OWN_APP]))
occasions = st.builds(
    occasion,
    kind=st.sampled_from(Kind),
    via=st.sampled_from(Via),
    sender=senders,
    number=st.sampled_from([0, 3]),
    is_pull=st.booleans(),
    pull=st.sampled_from([None, HEAD, FORK]),
    said=st.sampled_from(["", "@claude fix", "/fix it", "nothing", "@claude model=x"]),
    label=st.sampled_from(["", "claude", "bug"]),
    review_state=st.sampled_from(["", "approved", "changes_requested"]),
    assignee=st.sampled_from(["", "claude"]),
    files=st.sampled_from([None, (), ("src/a",)]),
    ref=st.sampled_from(["", "main"]),
    check=st.sampled_from([None, Check(id=1, name="t", suite=True, conclusion="failure", sha="a" * 40, branch="main")]),
)
filters = st.builds(
    Filter,
    permission=st.sampled_from(["write", "maintain", "admin"]),
    teams=st.sampled_from([(), ("core",)]),
    files=st.sampled_from([Paths(), Paths(only=("src",))]),
    draft=st.sampled_from([None, True, False]),
)
names = {On.LABEL: "claude", On.ASSIGNMENT: "claude", On.MENTION: "claude", On.COMMAND: "fix", On.REVIEW: "approved"}
trigger_lists = st.lists(
    st.builds(lambda on, wanted: Trigger(on=on, name=names.get(on, ""), filter=wanted), st.sampled_from(On), filters),
    max_size=4,
).map(tuple)
facts = st.builds(
    Facts,
    permission=st.sampled_from([None, "none", "read", "write", "admin", "odd"]),
    teams=st.sampled_from([None, frozenset(), frozenset({"core"})]),
    files=st.sampled_from([None, (), ("src/a",)]),
    pull=st.sampled_from([None, HEAD, FORK]),
    app=st.sampled_from([None, 0, 77, 78, OWN_APP]),
)


@given(occasions, trigger_lists, facts, st.sampled_from([(), (77,), (77, OWN_APP)]))
def test_nobody_is_heard_who_may_not(happened, triggers, known, bots):
    found = judge(
        Case(occasion=happened, triggers=Triggers(items=triggers, bots=bots), policy=POLICY, delivery="d", facts=known)
    )
    if isinstance(found, Open):
        answered = {
            Question.PERMISSION: known.permission,
            Question.TEAMS: known.teams,
            Question.FILES: known.files,
            Question.PULL: happened.pull or known.pull,
            Question.APP: known.app,
        }
        assert found.questions
        assert all(answered[question] is None for question in found.questions), "asks for what it was told"
        return
    if not isinstance(found, Heard):
        assert found.reason
        return
    app = happened.sender.app or known.app
    assert happened.sender.app != OWN_APP
    if happened.sender.bot and found.trigger.on is not On.CI_FAILED:
        assert app in bots
        assert app != OWN_APP
    elif not happened.sender.bot and found.trigger.on in {On.MENTION, On.COMMAND, On.PULL_REQUEST, On.REVIEW}:
        assert allowed(known.permission, found.trigger.filter.permission)
    if found.trigger.on in {On.PULL_REQUEST, On.REVIEW, On.CI_FAILED, On.PUSH}:
        assert not (found.pull and found.pull.fork)
    if found.trigger.filter.teams:
        assert "core" in known.teams
    assert not happened.is_pull or found.pull is not None


def test_a_red_check_is_heard_whoever_pushed_but_our_own_check_is_not():
    trigger = Trigger(on=On.CI_FAILED)
    for sender in (
        Sender(login="alice", bot=False, app=15368),
        Sender(login="pullwright[bot]", bot=True, app=15368),
        Sender(login="ci[bot]", bot=True),
    ):
        heard = verdict(check(sender=sender), trigger)
        assert isinstance(heard, Heard)
        assert bool(heard.ask.app) == sender.bot
    assert isinstance(verdict(check(sender=Sender(login="pullwright[bot]", bot=True, app=OWN_APP)), trigger), Ignored)
