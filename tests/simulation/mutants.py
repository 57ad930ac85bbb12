"""The product broken on purpose, one rule at a time: what the simulator must notice, or it proves nothing."""

import os
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from unittest import mock

from dispatcher.doors import github as door
from dispatcher.engine import launch, status, sweep
from dispatcher.gateway import lease as gateway_lease
from infra.core import run as rules
from infra.core.forge import PullRequest
from infra.core.ids import new_token
from infra.github.client import GitHubRepository
from infra.records.deliveries import Deliveries
from infra.records.subjects import Seat, Subjects
from runner import execute, publish
from runner.lease import Lease

_real_renew, _real_claim, _real_settle = rules.renew, rules.claim, rules.settle


@contextmanager
def _replaced(*places):
    """(object, name, value) each."""
    with ExitStack() as stack:
        for owner, name, value in places:
            stack.enter_context(mock.patch.object(owner, name, value))
        yield


def no_fence():
    """Any lease may write, also one that was taken over."""
    return _replaced((rules, "check_fence", lambda run, fence: None))


def leases_taken_from_the_living():
    """Whoever asks gets the run, though another holds it."""

    def claim(run, *, holder, now, lease_ms):
        return _real_claim(replace(run, lease=None) if run.lease else run, holder=holder, now=now, lease_ms=lease_ms)

    return _replaced((rules, "claim", claim))


def task_without_state():
    """The task is made first; a crash in between leaves a task for a run that nobody knows."""

    async def backwards(run, services, *locks):
        await launch.enqueue(run, services)
        await services.store.commit(services.runs.creation(run), *locks)

    return _replaced((door, "launch", backwards))


def nobody_sweeps():
    return _replaced((sweep, "swept", lambda run, now: None))


def every_delivery_is_new():
    """Neither the delivery's id nor its body is a lock, and an issue has no seat."""

    async def alone(self, full_name, number):
        return Seat(f"subjects/{new_token(os.urandom, 16)}", "", None)

    return _replaced((Deliveries, "creations", staticmethod(lambda *_, **__: ())), (Subjects, "seat", alone))


def no_look_for_a_pull_request():
    """A pull request that is there already is not looked for, neither before nor after a lost answer."""

    async def nothing(*_, **__):
        return ()

    return _replaced((GitHubRepository, "pulls_from", nothing), (publish, "_own", lambda pulls, work: None))


def overtaken_heartbeats_count():
    def renew(run, *, beat=0, **rest):
        return _real_renew(run, **rest)

    return _replaced((rules, "renew", renew))


def cancelled_unseen():
    """A run whose runner was lost while it published is cancelled without a look."""
    return _replaced((rules, "_maybe_published", lambda run: False), (Lease, "_maybe_published", lambda self: False))


def work_not_taken_up():
    """A result that was saved is not used: the agent is paid again."""

    async def resumed(self, place):
        return None

    return _replaced((execute.Attempt, "_resumed", resumed))


def usage_forgotten():
    """What an earlier attempt spent is not carried on."""

    def settle(run, state, *, now, reason=None, delivered=None, usage=None):
        return replace(_real_settle(run, state, now=now, reason=reason, delivered=delivered), usage=rules.Usage())

    return _replaced((rules, "settle", settle))


def success_on_trust():
    """The runner's word is taken for the outcome, and runners say that it worked when nothing was published."""

    async def verified(run, report, services):
        return report.state, report.reason, report.delivered

    async def claimed(*_, **__):
        return PullRequest(
            number=1, url="", state="open", merged=False, head_branch="", head_sha="", base_branch="", title="", body=""
        )

    return _replaced((gateway_lease, "verified", verified), (execute, "publish", claimed))


def comments_not_looked_for():
    """After a lost answer the comment is written again."""

    return _replaced((status, "is_marked", lambda body, full_name, number: False))


MUTANTS = (
    no_fence,
    leases_taken_from_the_living,
    task_without_state,
    nobody_sweeps,
    every_delivery_is_new,
    no_look_for_a_pull_request,
    overtaken_heartbeats_count,
    cancelled_unseen,
    work_not_taken_up,
    usage_forgotten,
    success_on_trust,
    comments_not_looked_for,
)
