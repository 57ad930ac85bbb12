"""The invariants, checked on what the fakes saw. Each returns sentences; none means that it held.

Numbers as in ``docs/reliability.md``.
"""

from collections import Counter, defaultdict

from infra.core.run import TERMINAL, TRANSITIONS, Phase, State
from infra.core.words import marked_run
from tests.simulation.github import BASE


def violations(world):
    return [sentence for check in CHECKS for sentence in check(world)]


def nothing_unforeseen(world):
    """What fails on purpose is foreseen: any other exception is a defect, also where the run survives it."""
    yield from world.defects
    for entry in world.journal.of("run"):
        if entry.facts["reason"] == "runner_error":
            yield f"run {entry.facts['id']} met an unforeseen error"


def one_pull_request(world):
    """I1: at most one pull request a run, and one open one an issue."""
    runs = Counter(marked_run(pull["body"]) for pull in world.github.pulls)
    for run, count in runs.items():
        if count > 1:
            yield f"I1: run {run} has {count} pull requests"
    issues = Counter(world.issue_of.get(run) for run in runs if world.issue_of.get(run))
    for issue, count in issues.items():
        if count > 1:
            yield f"I1: issue {issue} has {count} pull requests"


def accepted_ends(world):
    """I2: what was accepted comes to an end."""
    for run in world.accepted:
        state = world.states.get(run)
        if state not in TERMINAL:
            yield f"I2: run {run} was accepted and is {state or 'not stored'}"


def always_somebody_due(world):
    """I3: a run that has not ended has a time at which somebody looks at it."""
    for entry in world.journal.of("run"):
        if State(entry.facts["state"]) not in TERMINAL and entry.facts["wake"] is None:
            yield f"I3: run {entry.facts['id']} is {entry.facts['state']} with nobody due"


def only_declared_moves(world):
    """I4: a run's history is a path through the table, and its end is final."""
    before = {}
    for entry in world.journal.of("run"):
        run, state = entry.facts["id"], State(entry.facts["state"])
        last = before.get(run)
        if last is not None and last in TERMINAL:
            yield f"I4: run {run} was written after its end ({last} → {state})"
        elif last is not None and last is not state and state not in TRANSITIONS[last]:
            yield f"I4: run {run} went from {last} to {state}"
        before[run] = state


def delivered_is_true(world):
    """I5, seen from outside: a run that says it succeeded has an open pull request whose head is on its branch."""
    pulls = {marked_run(pull["body"]): pull for pull in world.github.pulls}
    for run, state in world.states.items():
        if state is State.SUCCEEDED:
            pull = pulls.get(run)
            if pull is None:
                yield f"I5: run {run} succeeded without a pull request"
            elif world.delivered[run]["head_sha"] != world.github.branches.get(pull["head"]):
                yield f"I5: the branch of run {run} is not what was delivered"


def told_once(world):
    """I12: one comment an issue, which says in the end what became of the work; one check a run."""
    comments = Counter(comment["issue"] for comment in world.github.comments)
    for issue, count in comments.items():
        if count > 1:
            yield f"I12: issue {issue} has {count} comments"
    for run, issue in world.issue_of.items():
        if issue not in comments:
            yield f"I12: nobody was told on issue {issue} about run {run}"
    checks = Counter(check["external_id"] for check in world.github.checks)
    for run, count in checks.items():
        if count > 1:
            yield f"I12: run {run} has {count} checks"


def cost_counted_once(world):
    """I7: what the last attempt and those before it spent is what is written down; a killed one's last words may be missing."""
    spent = defaultdict(int)
    for entry in world.journal.of("spent"):
        spent[entry.facts["run"]] += entry.facts["micros"]
    for run, cost in world.costs.items():
        if cost > spent[run]:
            yield f"I7: run {run} is said to have cost {cost}, but {spent[run]} was spent"
        elif cost != spent[run] and run not in world.interrupted:
            yield f"I7: run {run} cost {spent[run]}, and {cost} was written down"


def only_own_branches(world):
    """I9: pushes go to the run's own branch, and nobody else's commit is replaced."""
    for entry in world.journal.of("push"):
        if entry.facts["branch"] != f"claude/{entry.facts['run']}":
            yield f"I9: run {entry.facts['run']} pushed to {entry.facts['branch']}"
    if world.github.branches["main"] != BASE:
        yield "I9: the default branch was moved"


def agent_paid_once(world):
    """A paid agent phase whose result was saved is never repeated by a later attempt."""
    saved = {}
    for entry in world.journal.of("agent", "run"):
        facts = entry.facts
        if entry.kind == "run" and facts["checkpoint"] == Phase.PUBLISHING:
            saved.setdefault(facts["id"], facts["fence"])
        elif entry.kind == "agent" and facts["fence"] > saved.get(facts["run"], facts["fence"]):
            yield f"the agent of run {facts['run']} worked again after its work was saved"


def phases_go_forward(world):
    """Within one lease: a heartbeat that was overtaken must not turn back the clock."""
    order, last, claimed_at = list(Phase), {}, {}
    for entry in world.journal.of("run"):
        facts = entry.facts
        if facts["state"] != State.RUNNING:
            continue
        lease, phase = (facts["id"], facts["fence"]), order.index(Phase(facts["phase"]))
        # until its first heartbeat arrives, a claimed run shows how far the attempt before it came
        claimed_at.setdefault(lease, phase)
        if phase == claimed_at[lease] and lease not in last:
            continue
        if phase < last.get(lease, 0):
            yield f"run {facts['id']} went back to {facts['phase']}"
        last[lease] = phase


def cancelled_stays_cancelled(world):
    """After a cancel that was acknowledged before publishing there is no pull request."""
    for run in world.cancelled:
        state = world.states.get(run)
        if state is State.CANCELLED and any(marked_run(pull["body"]) == run for pull in world.github.pulls):
            yield f"run {run} was cancelled and has a pull request"


CHECKS = (
    nothing_unforeseen,
    one_pull_request,
    accepted_ends,
    always_somebody_due,
    only_declared_moves,
    delivered_is_true,
    cost_counted_once,
    told_once,
    only_own_branches,
    agent_paid_once,
    phases_go_forward,
    cancelled_stays_cancelled,
)
