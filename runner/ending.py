"""How a run can end, in the runner's words: outcomes are values, and every failure has a reason and a next step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from infra.core.errors import PullwrightError
from infra.core.run import Reason, State
from runner.agents.port import Failure, Result

THREE_CHECKS = (
    "Check three things: the run's last events and the runner's log; that the model credential is valid and has credit; "
    "that the GitHub App has its permissions (GET /api/workflows/installation-status/OWNER/REPO)."
)

CANCELLED = Reason(code="cancelled", message="Cancelled on request.")

_FAILURE_STATES = {Failure.TIME: State.TIMED_OUT, Failure.IDLE: State.TIMED_OUT, Failure.INTERRUPTED: State.CANCELLED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What the caller of ``execute`` is told. ``state`` is None when this runner had nothing to do. ``exit_code``: of an agent
    that is a command."""

    run_id: str
    state: State | None
    message: str
    exit_code: int | None = None


class Unfinished(PullwrightError):
    """The run ends here, without a pull request, for a reason that is an outcome and not a defect."""

    def __init__(self, state: State, reason: Reason) -> None:
        super().__init__(reason.message, code=reason.code, hint=reason.hint)
        self.state = state
        self.reason = reason


def agent_failed(result: Result, clean: Callable[[str], str]) -> Unfinished:
    """The end that a failed agent means for its run; ``clean`` redacts what the agent said."""
    assert result.failure is not None, "it did not fail"
    state = _FAILURE_STATES.get(result.failure, State.FAILED)
    message = f"Failed to run Claude Code: {result.message}" if state is State.FAILED else result.message
    hint = " ".join(part for part in (result.hint, THREE_CHECKS) if part)
    return Unfinished(state, Reason(code=result.failure, message=clean(message), hint=hint))


def out_of_time(wall_seconds: int) -> Reason:
    return Reason(
        code="timed_out",
        message=f"The run took longer than its limit of {wall_seconds / 60:.0f} minutes.",
        hint="Ask for a smaller change, or raise RUN_TIMEOUT_SECONDS.",
    )


def failed(error: PullwrightError) -> Reason:
    return Reason(code=error.code, message=error.message, hint=error.hint)


def unforeseen(error: Exception) -> Reason:
    return Reason(
        code="runner_error",
        message=f"The runner met an unexpected error: {type(error).__name__}.",
        hint="Look at the runner's log; starting the run again may help.",
    )
