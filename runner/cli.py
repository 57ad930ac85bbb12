"""``claude-runner`` and ``rev-runner``: the runner on a person's machine – the same ``execute`` as in the cloud.

Exit status: 0 when the run ended well, 1 when something of ours failed, 130 when it was stopped, 124 when it ran out of time;
what an agent that is a command exits with is passed on.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from dotenv import dotenv_values
from rich.console import Console

from infra.core.commands import CLAUDE_CODE, LINES
from infra.core.errors import Forbidden, Invalid, PullwrightError
from infra.core.ids import parse_run_id
from infra.core.run import State
from infra.logs import configure
from infra.settings import RunnerSettings, load, names, required
from infra.system_clock import system_clock
from infra.wire import ProcessIssue
from runner.assist import find_tmate, shared_terminal
from runner.connection import findings, may_trust_itself
from runner.ending import Ending
from runner.execute import execute
from runner.gateway import Gateway
from runner.job import exit_status, job_of
from runner.side_door import announce
from runner.terminal import Terminal
from runner.wiring import LAPTOP, connect, keep_only_needed

RunIdOption = Annotated[str, typer.Option(help="The run, as the dashboard and the API name it.")]
TokenOption = Annotated[str, typer.Option(help="Its capability token.", envvar="RUN_TOKEN", show_envvar=True)]

_STOPPED = 128 + signal.SIGINT

_console = Console(highlight=False, soft_wrap=True)


def build_app(agent: str, words: str) -> typer.Typer:
    """The program for one type of agent."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, help=words)

    @app.callback()
    def shared() -> None:
        configure("runner", load(RunnerSettings, _environment()).effective_log_level)

    @app.command()
    def start(
        run_id: RunIdOption,
        token: TokenOption,
        cmd: Annotated[str, typer.Option(help="What to do: a prompt, or the command of a rev-runner.")] = "",
        cwd: Annotated[
            Path | None, typer.Option(help="Work in this folder instead of a fresh clone; nothing is published.")
        ] = None,
        push: Annotated[
            bool, typer.Option("--push", help="With --cwd: publish the change as a pull request too.")
        ] = False,
    ) -> None:
        """Work on one run until it ends; GATEWAY_URL says where it is known."""
        settings = _settings(RUN_ID=run_id, RUN_TOKEN=token)
        job = job_of(settings)
        folder = _own_tree(cwd, push=push)
        keep_only_needed(os.environ)
        ending = asyncio.run(_work(settings, job, agent=agent, cmd=cmd, folder=folder, push=push))
        raise typer.Exit(status_of(ending))

    @app.command()
    def assist(run_id: RunIdOption, token: TokenOption) -> None:
        """Share a terminal of this machine with those who follow the run; it ends with the run."""
        settings = _settings(RUN_ID=run_id, RUN_TOKEN=token)
        if settings.assist == "off":
            raise Forbidden("ASSIST=off: no terminal is shared here.", code="assist_off", hint="Set ASSIST=on.")
        asyncio.run(_assist(Path(settings.runs_dir) / parse_run_id(run_id)))

    @app.command("test-connection")
    def test_connection(
        run_id: Annotated[str, typer.Option(help="Ask about this run too.")] = "",
        token: Annotated[str, typer.Option(help="Its capability token.", envvar="RUN_TOKEN")] = "",
    ) -> None:
        """Ask the gateway whether it is there, and whether it takes this run's token."""
        well = asyncio.run(_test(_settings(RUN_ID=run_id, RUN_TOKEN=token)))
        raise typer.Exit(0 if well else 1)

    @app.command()
    def info() -> None:
        """Show the settings in force; secrets are only said to be there or not."""
        settings = _settings()
        for name in names(RunnerSettings):
            value = str(getattr(settings, name.lower()))
            secret = name in {"HMAC_SECRET", "RUN_TOKEN"}
            _console.print(f"{name:<22} {('set' if value else 'not set') if secret else value}", markup=False)

    return app


def status_of(ending: Ending) -> int:
    if ending.exit_code:
        return ending.exit_code
    return _STOPPED if ending.state is State.CANCELLED else exit_status(ending)


async def _work(
    settings: RunnerSettings, job: ProcessIssue, *, agent: str, cmd: str, folder: Path | None, push: bool
) -> Ending:
    command = tuple(shlex.split(cmd)) if agent == LINES else ()
    tools = await connect(settings, host=LAPTOP, agent_type=agent, command=command)
    with Terminal(_console) as terminal:
        tools = replace(
            tools,
            viewers=(terminal.note,),
            prompt=cmd if agent == CLAUDE_CODE else "",
            own_tree=folder,
            push=push,
        )
        task = asyncio.ensure_future(execute(job, tools))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, _stop_once, task)
        ending = await task
    terminal.summary(ending)
    _console.print(f"{ending.run_id}: {ending.state or 'nothing to do'} {ending.message}".rstrip(), markup=False)
    return ending


def _stop_once(task: asyncio.Future[Ending]) -> None:
    """Further signals change nothing: the agent is being stopped, and that has an end."""
    if isinstance(task, asyncio.Task) and not task.cancelling():
        task.cancel()


def _own_tree(cwd: Path | None, *, push: bool) -> Path | None:
    if cwd is None:
        if push:
            raise Invalid("--push is for --cwd: a run on a fresh clone is published anyway.", code="invalid_option")
        return None
    folder = cwd.resolve()
    if not (folder / ".git").is_dir():
        raise Invalid(
            f"{folder} is not the top of a git repository.",
            code="invalid_folder",
            hint="Name the folder that holds .git.",
        )
    return folder


async def _assist(folder: Path) -> None:
    path = os.environ.get("PATH", os.defpath)
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(shared_terminal(find_tmate(path), Path.cwd(), os.environ))
        ended = await announce(folder, address)
        _console.print(f"assist: {address}", markup=False)
        _console.print("Ctrl-C closes the terminal; the end of the run does too.")
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        waits = [asyncio.ensure_future(ended.read()), asyncio.ensure_future(stopped.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()


async def _test(settings: RunnerSettings) -> bool:
    url = required(settings.gateway_url, "GATEWAY_URL").rstrip("/")
    gateway = Gateway(
        url=url,
        run_id=settings.run_id,
        token=settings.run_token,
        clock=system_clock,
        entropy=os.urandom,
        hmac_secret=settings.hmac_secret,
        trust_any=may_trust_itself(url, settings.allow_self_signed),
    )
    async with gateway:
        found = await findings(gateway, has_run=bool(settings.run_id and settings.run_token))
    for each in found:
        _console.print(f"{'ok    ' if each.well else 'FAILED'} {each.what}: {each.words}", markup=False)
    return all(each.well for each in found)


def _environment() -> dict[str, str]:
    """``.env`` of this folder, overruled by the environment."""
    file = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    return {**file, **os.environ}


def _settings(**given: str) -> RunnerSettings:
    return load(RunnerSettings, {**_environment(), **{name: value for name, value in given.items() if value}})


def run(app: typer.Typer) -> None:
    try:
        app()
    except PullwrightError as error:
        print(f"{error.message}\n{error.hint}".strip(), file=sys.stderr)  # noqa: T201 – the program's own voice
        sys.exit(1)


def main() -> None:
    run(build_app(CLAUDE_CODE, "Works on a run of Pullwright with Claude Code, on this machine."))


def rev() -> None:
    run(build_app(LINES, "Works on a run of Pullwright with a command instead of Claude Code, on this machine."))
