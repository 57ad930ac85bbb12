"""The one comment that the platform has in an issue or a pull request, through all states of a run. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from infra.core.announcement import Told
from infra.core.checklist import Item
from infra.core.clock import SECOND
from infra.core.harmless import as_code, as_line, counted, duration, fenced, quoted, shortened
from infra.core.run import Phase, Run, State

MAX_CHARS = 60_000
"""GitHub takes 65,536. https://github.com/orgs/community/discussions/27190"""

CHECK_NAME = "Pullwright"
"""Of the platform's own check run."""

MAX_PATCH_CHARS = 40_000
SHOWN_ITEMS = 30
_ITEM_CHARS = 200

_MARKER = "<!-- pullwright:conversation={full_name}#{number} -->"

_PHASES = {
    Phase.CLONING: "A runner is fetching the repository.",
    Phase.WORKING: "The agent is working.",
    Phase.PUBLISHING: "The work is done and is being published.",
}
_WAITS = {
    State.WAITING_APPROVAL: "Waiting for somebody's approval.",
    State.WAITING_BUDGET: "Waiting: the budget of this period is used up.",
    State.WAITING_RATE_LIMIT: "Waiting: the model's provider asked to slow down.",
    State.PAUSED: "Paused.",
}
_ENDS = {
    State.FAILED: "This did not work.",
    State.CANCELLED: "Cancelled.",
    State.TIMED_OUT: "Stopped: out of time.",
    State.BLOCKED: "Stopped before anything was published.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the comment says beside the run's own facts.

    ``position``: how many runs wait before this one, None when unknown. ``patch``: the work of a run that was stopped,
    secrets masked. ``checks_missing``: the commit after whose push no check had started. ``waiting_after``: the run that this
    one waits for because it is about the same issue. ``needs_human``: the platform has given up on this by itself.
    """

    run_url: str
    position: int | None = None
    waiting_after: str = ""
    checklist: Sequence[Item] = ()
    patch: str = ""
    checks_missing: str = ""
    needs_human: bool = False
    rehearsal: bool = False
    earlier: Sequence[Told] = ()


def status_comment(run: Run, around: Surroundings) -> str:
    """The whole text; its last line is the marker. Never longer than ``MAX_CHARS``."""
    sections = [_headline(run, around), _body(run, around), _patch(around.patch), _checks(around), _footer(run, around)]
    sections += [_earlier(run, around.earlier), marker(run.full_name, run.origin.issue)]
    text = "\n\n".join(section for section in sections if section)
    if len(text) > MAX_CHARS and around.patch:
        return status_comment(run, _without_patch(around))
    return text


def marker(full_name: str, number: int) -> str:
    """The hidden last line by which the comment is found again."""
    return _MARKER.format(full_name=full_name, number=number)


def is_marked(body: str, full_name: str, number: int) -> bool:
    """Only the last line counts: text above it may quote anything."""
    return body.rstrip().rsplit("\n", 1)[-1].strip() == marker(full_name, number)


def told(run: Run) -> Told:
    """An ended run as the line that stays when a later run takes the comment over."""
    delivered = f" [#{run.delivered.number}]({run.delivered.url})" if run.delivered and run.delivered.url else ""
    return Told(run_id=run.id, line=f"{run.id}: {run.state.replace('_', ' ')}{delivered} ({_figures(run)})")


def check_title(run: Run) -> str:
    """The one line of the check run."""
    if run.state is State.SUCCEEDED:
        return "Done" if run.delivered is None else f"Pull request #{run.delivered.number}"
    if run.state is State.NO_CHANGES:
        return "Nothing to change"
    return shortened(_ENDS.get(run.state, str(run.state)), 100)


def check_summary(run: Run, around: Surroundings) -> str:
    return "\n\n".join(part for part in (_body(run, around), _footer(run, around)) if part)


def thread_answer(run: Run, around: Surroundings) -> str:
    """What is said in the review thread that asked for the run; the last line is its marker."""
    if run.state is State.SUCCEEDED and run.delivered:
        said = f"Done in {run.delivered.head_sha}: {_size(run)}."
    elif run.state is State.NO_CHANGES:
        said = f"Nothing was changed.\n\n{quoted(run.reason.hint if run.reason else '')}".rstrip()
    else:
        said = _body(run, around)
    return "\n\n".join(
        [f"{said}\n\nRun [{run.id}]({around.run_url}).", f"<!-- pullwright:answer={run.id} -->"],
    )


def is_answer(body: str, run: Run) -> bool:
    return body.rstrip().endswith(f"<!-- pullwright:answer={run.id} -->")


def _headline(run: Run, around: Surroundings) -> str:
    if run.state in {State.QUEUED, State.PROVISIONING}:
        return _queued(run, around)
    if run.state is State.RUNNING:
        return f"**{_PHASES[run.phase or Phase.CLONING]}**" + (" Asked to stop." if run.cancel_requested_at else "")
    if run.state in _WAITS:
        return f"**{_WAITS[run.state]}**"
    if run.state is State.SUCCEEDED:
        return _succeeded(run)
    if run.state is State.NO_CHANGES:
        return "**Nothing to change.**"
    return f"**{_ENDS[run.state]}**"


def _queued(run: Run, around: Surroundings) -> str:
    if run.attempt:
        return "**A runner was lost; the next one goes on from where it was.**"
    if around.waiting_after:
        return f"**Queued** after {as_code(around.waiting_after)}, which is at work here."
    if around.position is None:
        return "**Queued.**"
    if around.position == 0:
        return "**Queued**, next in line."
    return f"**Queued**, {counted(around.position, 'run')} before this one."


def _succeeded(run: Run) -> str:
    delivered = run.delivered
    if delivered is None:
        return "**Done.**"
    link = f"[#{delivered.number}]({delivered.url})"
    if run.action == "review":
        return f"**Reviewed {link}.**"
    if delivered.number == run.origin.issue:
        return f"**Done:** {delivered.head_sha} on `{delivered.branch}`."
    return f"**Done: pull request {link}.**"


def _body(run: Run, around: Surroundings) -> str:
    if not run.ended:
        return "\n".join(_item(item) for item in around.checklist[:SHOWN_ITEMS])
    if run.state is State.SUCCEEDED:
        return f"{_size(run)}." if run.delivered and run.delivered.files_changed else ""
    if run.state is State.NO_CHANGES:
        return quoted(run.reason.hint) if run.reason else ""
    if run.reason is None:
        return ""
    step = f"\n\n**Next:** {as_line(run.reason.hint)}" if run.reason.hint else ""
    human = "\n\nThis needs a person now." if around.needs_human else ""
    return f"{as_line(run.reason.message)}{step}{human}"


def _item(item: Item) -> str:
    box = "x" if item.done else " "
    text = as_line(shortened(item.text, _ITEM_CHARS))
    return f"- [{box}] {f'**{text}**' if item.active and not item.done else text}"


def _patch(patch: str) -> str:
    if not patch:
        return ""
    if len(patch) > MAX_PATCH_CHARS:
        return "The change is too long for a comment; it is kept as the run's artifact `change.patch`."
    return f"<details><summary>The change, as a patch for <code>git apply</code></summary>\n\n{fenced(patch, 'diff')}\n\n</details>"


def _checks(around: Surroundings) -> str:
    if not around.checks_missing:
        return ""
    return (
        f"**No check has started on {around.checks_missing[:12]}.** If this repository has workflows, look at its Actions tab: "
        "they may be waiting for approval, be switched off, or not listen to this branch."
    )


def _footer(run: Run, around: Surroundings) -> str:
    who = f"asked for by {as_code(run.origin.actor)}" if run.origin.actor else ""
    figures = _figures(run) if run.ended else ""
    parts = [f"Run [{run.id}]({around.run_url})", who, figures]
    scripted = "\n\nThis was a rehearsal: the model's answers were scripted." if around.rehearsal and run.ended else ""
    return " · ".join(part for part in parts if part) + scripted


def _figures(run: Run) -> str:
    usage = run.usage
    cost = "cost unknown" if usage.cost_basis == "unknown" else f"${usage.cost_micros / 1_000_000:,.4f}"
    spent = (run.finished_at - run.started_at) / SECOND if run.finished_at and run.started_at else 0.0
    return f"{cost}, {duration(spent)}"


def _size(run: Run) -> str:
    assert run.delivered is not None
    made = run.delivered
    return (
        f"{counted(made.files_changed, 'file')} changed, {counted(made.lines_added, 'line')} added, "
        f"{made.lines_removed:,} removed"
    )


def _earlier(run: Run, earlier: Sequence[Told]) -> str:
    lines = [f"- {one.line}" for one in earlier if one.run_id != run.id]
    return "Earlier here:\n" + "\n".join(lines) if lines else ""


def _without_patch(around: Surroundings) -> Surroundings:
    return replace(around, patch="", earlier=around.earlier[-3:])
