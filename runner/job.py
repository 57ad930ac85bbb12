"""The runner as a Cloud Run job execution: one process, one run, then gone. For runs longer than a request may live.

Exit status: 0 when the run ended well or was not ours to do, 1 when it failed, 124 when it timed out.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

from infra.core.errors import PullwrightError
from infra.core.run import State
from infra.logs import configure
from infra.settings import RunnerSettings, load, required
from infra.wire import ProcessIssue
from runner.ending import Ending
from runner.execute import execute
from runner.wiring import connect, keep_only_needed

EXIT_FAILED = 1
EXIT_TIMED_OUT = 124
"""As ``timeout(1)`` has it; a job's execution does not say by itself that it ran out of time."""

_EXIT = {State.FAILED: EXIT_FAILED, State.BLOCKED: EXIT_FAILED, State.TIMED_OUT: EXIT_TIMED_OUT}

_log = logging.getLogger("runner")


def exit_status(ending: Ending) -> int:
    return _EXIT.get(ending.state, 0) if ending.state else 0


async def run_one(settings: RunnerSettings, job: ProcessIssue, *, host: str) -> Ending:
    """Works on one run; SIGTERM and SIGINT stop the agent and leave the run to the next runner."""
    task = asyncio.ensure_future(execute(job, await connect(settings, host=host)))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


def job_of(settings: RunnerSettings) -> ProcessIssue:
    """The run that the environment names. Raises ``Unavailable`` naming the variable that is missing."""
    return ProcessIssue(
        run_id=required(settings.run_id or settings.session_id, "RUN_ID"),
        token=required(settings.run_token, "RUN_TOKEN"),
        gateway_url=required(settings.gateway_url, "GATEWAY_URL"),
    )


def main() -> None:
    try:
        settings = load(RunnerSettings)
        configure("runner", settings.effective_log_level)
        job = job_of(settings)
        keep_only_needed(os.environ)
        ending = asyncio.run(run_one(settings, job, host="job"))
    except asyncio.CancelledError:
        sys.exit(128 + signal.SIGTERM)
    except PullwrightError as error:
        sys.exit(f"{error.message} {error.hint}")
    _log.info("run ended", extra={"run_id": ending.run_id, "state": ending.state, "reason": ending.message})
    sys.exit(exit_status(ending))


if __name__ == "__main__":
    main()
