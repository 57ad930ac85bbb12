"""``pullwright``: the product on one machine, from one command."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from dotenv import dotenv_values
from rich.console import Console

from infra.core.access import Permission, new_api_key
from infra.core.errors import PullwrightError
from infra.core.store import Documents
from infra.local.project_cli import secret, validate
from infra.local.setup_cli import setup
from infra.platform_secrets import APP_ID, APP_PRIVATE_KEY, PlatformSecrets
from infra.settings import DispatcherSettings, RunnerSettings, check_known, load, names, required
from infra.system_clock import system_clock

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Issues in, pull requests out, on your own Google Cloud."
)
keys = typer.Typer(no_args_is_help=True, help="API keys of an installation.")
app.add_typer(keys, name="keys")
app.add_typer(secret, name="secret")
app.add_typer(setup, name="setup")
app.command()(validate)

DEFAULT_PORT = 3001
_console = Console(highlight=False, soft_wrap=True)


@app.command()
def demo() -> None:
    """Run the main job once, in a temporary place: dispatch, live progress, pull request."""
    from infra.local.demo import demo as run_demo

    raise typer.Exit(_run(run_demo(_console, _given())))


@app.command()
def up(
    data: Annotated[Path, typer.Option(help="Where state is kept.")] = Path(".data"),
    port: Annotated[
        int, typer.Option(help="The dispatcher's port; a free one is taken when it is in use.")
    ] = DEFAULT_PORT,
) -> None:
    """Start everything and stay up until Ctrl-C."""
    raise typer.Exit(_run(_up(data.resolve(), port, _given())))


@app.command()
def replay(
    run: Annotated[str, typer.Argument(help="The recorded run.")],
    data: Annotated[Path, typer.Option(help="Where state is kept.")] = Path(".data"),
    real_time: Annotated[bool, typer.Option("--real-time", help="Answers come as slowly as they came then.")] = False,
) -> None:
    """Run a recorded run again without a model; says whether the files and the ledger come out the same."""
    from infra.local.replay import replay as replay_run

    raise typer.Exit(_run(replay_run(_console, data.resolve(), run, _given(), real_time=real_time)))


@app.command()
def doctor(
    cloud: Annotated[bool, typer.Option("--cloud", help="Look at a Google Cloud project.")] = False,
    data: Annotated[Path, typer.Option(help="Where local state is kept.")] = Path(".data"),
    project: Annotated[str, typer.Option(help="Its id.", envvar="GOOGLE_CLOUD_PROJECT")] = "",
    region: Annotated[str, typer.Option(help="Where it is deployed.", envvar="GOOGLE_CLOUD_REGION")] = "us-central1",
) -> None:
    """Look for what is wrong with the GitHub App, or in the cloud, and say what to type or to click."""
    if not cloud:
        raise typer.Exit(_run(_github_doctor(data.resolve(), _given())))
    raise typer.Exit(_run(_cloud_doctor(required(project, "GOOGLE_CLOUD_PROJECT"), region)))


async def _github_doctor(data: Path, given: Mapping[str, str]) -> int:
    from infra.github.app_auth import AppCredentials
    from infra.github.doctor import Examination
    from infra.local.findings import show
    from infra.local.secrets import FileSecrets

    settings = load(DispatcherSettings, given)
    stored = {APP_ID: settings.github_app_id, APP_PRIVATE_KEY: settings.github_app_private_key}
    secrets = PlatformSecrets(store=FileSecrets(data / "secrets", entropy=os.urandom), given=stored, clock=system_clock)
    app_id, private_key = (await secrets.one(APP_ID)).decode(), (await secrets.one(APP_PRIVATE_KEY)).decode()
    examination = Examination(
        api_url=settings.github_api_url,
        credentials=AppCredentials(app_id, private_key),
        webhook_url=f"{settings.own_url}/webhook/github",
        clock=system_clock,
    )
    return show(_console, await examination.findings())


async def _cloud_doctor(project: str, region: str) -> int:
    from infra.gcp.checkup import Checkup
    from infra.gcp.console import Console, own_token
    from infra.gcp.doctor import examine
    from infra.local.findings import show

    async with Console(own_token) as console:
        return show(_console, await examine(Checkup(console, project, region)))


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What the key is for; shown in records.")],
    permission: Annotated[Permission, typer.Option(help="read, execute or admin.")] = Permission.EXECUTE,
    data: Annotated[Path, typer.Option(help="Where state is kept.")] = Path(".data"),
    project: Annotated[
        str, typer.Option(help="Google Cloud project to make it in, instead of here; takes roles/datastore.user.")
    ] = "",
    database: Annotated[str, typer.Option(help="Its Firestore database.")] = "(default)",
) -> None:
    """Make an API key; it is shown once."""
    raise typer.Exit(_run(_create_key(name, permission, _store(data, project, database))))


def _store(data: Path, project: str, database: str) -> Documents:
    if project:
        from infra.gcp.firestore import FirestoreDocuments

        return FirestoreDocuments(project=project, database=database, clock=system_clock)
    from infra.local.documents import SqliteDocuments

    return SqliteDocuments.open(data / "state.db", system_clock)


async def _create_key(name: str, permission: Permission, store: Documents) -> int:
    from infra.records.keys import ApiKeys

    text, record = new_api_key(name=name, permission=permission, now=system_clock(), entropy=os.urandom)
    try:
        await ApiKeys(store).add(record)
    finally:
        await store.close()
    _console.print(text, soft_wrap=True)
    return 0


async def _up(data: Path, port: int, given: Mapping[str, str]) -> int:
    from infra.local.stack import Stack

    async with Stack(
        data,
        given,
        port=port,
        on_restart=lambda name: _console.print(f"[yellow]{name} died and is started again[/]"),
    ) as stack:
        assert stack.world is not None
        for line in stack.world.explanation:
            _console.print(f"  {line}")
        _console.print(f"  sandbox {stack.sandbox}", markup=False)
        _console.print(f"\n[bold]dispatcher[/]  {stack.url}")
        _console.print(f"[bold]runner[/]      {stack.runner_url}")
        for name, url in stack.world.places:
            _console.print(f"[bold]{name:<10}[/]  {url}")
        if stack.first_key:
            _console.print(f"[bold]admin key[/]   {stack.first_key}  [dim](shown this once)[/]", soft_wrap=True)
        else:
            _console.print(
                "[bold]admin key[/]   [dim]was shown at the first start; make another with: pullwright keys create NAME[/]"
            )
        _console.print("\n[dim]Ctrl-C stops everything.[/]")
        await asyncio.Event().wait()
    return 0


def _given() -> dict[str, str]:
    """The person's settings: ``.env``, overruled by the environment. Unknown names in ``.env`` are refused."""
    file = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    check_known(file, DispatcherSettings, RunnerSettings)
    known = {*names(DispatcherSettings), *names(RunnerSettings)}
    merged = {**file, **{name: value for name, value in os.environ.items() if name in known}}
    load(DispatcherSettings, merged)
    load(RunnerSettings, merged)
    return merged


def _run(work: Coroutine[Any, Any, int]) -> int:
    """Interrupted by SIGINT or SIGTERM, the work still tidies up; the status is then what shells expect."""

    async def watched() -> int:
        task = asyncio.ensure_future(work)
        interrupted: list[int] = []

        def interrupt(number: int) -> None:
            interrupted.append(number)
            task.cancel()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupt, number)
        try:
            return await task
        except asyncio.CancelledError:
            return 128 + interrupted[0]

    return asyncio.run(watched())


def main() -> None:
    try:
        app()
    except PullwrightError as error:
        print(f"{error.message}\n{error.hint}".strip(), file=sys.stderr)  # noqa: T201 – the program's own voice
        sys.exit(1)
