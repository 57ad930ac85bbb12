"""``claude-runner``: the runner on a person's machine – the same ``execute`` as in the cloud."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Annotated

import typer
from dotenv import dotenv_values
from rich.console import Console

from infra.core.errors import PullwrightError
from infra.logs import configure
from infra.settings import RunnerSettings, load, names
from runner.job import exit_status, job_of, run_one
from runner.wiring import keep_only_needed

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Works on a run of Pullwright, on this machine.")
_console = Console(highlight=False, soft_wrap=True)


@app.command()
def start(
    run_id: Annotated[str, typer.Option(help="The run to work on.")],
    token: Annotated[str, typer.Option(help="Its capability token.", envvar="RUN_TOKEN", show_envvar=True)],
) -> None:
    """Work on one run until it ends; GATEWAY_URL says where it is known."""
    settings = _settings(RUN_ID=run_id, RUN_TOKEN=token)
    job = job_of(settings)
    keep_only_needed(os.environ)
    try:
        ending = asyncio.run(run_one(settings, job, host="laptop"))
    except asyncio.CancelledError:
        raise typer.Exit(128 + signal.SIGINT) from None
    _console.print(f"{ending.run_id}: {ending.state or 'nothing to do'} {ending.message}".rstrip())
    raise typer.Exit(exit_status(ending))


@app.command()
def info() -> None:
    """Show the settings in force; secrets are only said to be there or not."""
    settings = _settings()
    for name in names(RunnerSettings):
        value = str(getattr(settings, name.lower()))
        secret = name in {"HMAC_SECRET", "RUN_TOKEN"}
        _console.print(f"{name:<22} {('set' if value else 'not set') if secret else value}")


@app.callback()
def _shared() -> None:
    configure("runner", load(RunnerSettings, _environment()).effective_log_level)


def _environment() -> dict[str, str]:
    """``.env`` of this folder, overruled by the environment."""
    file = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    return {**file, **os.environ}


def _settings(**given: str) -> RunnerSettings:
    return load(RunnerSettings, {**_environment(), **given})


def main() -> None:
    try:
        app()
    except PullwrightError as error:
        print(f"{error.message}\n{error.hint}".strip(), file=sys.stderr)  # noqa: T201 – the program's own voice
        sys.exit(1)
