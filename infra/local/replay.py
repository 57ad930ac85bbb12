"""``pullwright replay``: a recorded run of this installation, once more, without a model.

Needs the run's cassette, the forge that has its base commit (the one that is running, or one started for the purpose), and the
runner's program that replays. The dispatcher, the queue and the model stay out of it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
from rich.console import Console

from infra.core.errors import NotFound, Unavailable
from infra.core.forge import CLONE_PERMISSIONS
from infra.core.ids import RunId, parse_run_id
from infra.core.repository import Repository
from infra.core.run import Run
from infra.local.bootstrap import prepare_world
from infra.local.bucket import FolderBucket
from infra.local.documents import SqliteDocuments
from infra.local.processes import INHERITED, answers
from infra.local.running import running_forge
from infra.local.secrets import FileSecrets
from infra.platform_secrets import APP_PRIVATE_KEY
from infra.records.runs import Runs
from infra.replay import ReplayOrder, ReplayReport
from infra.settings import DispatcherSettings, RunnerSettings, load, names
from infra.system_clock import system_clock

CASSETTE = "cassette.jsonl.gz"


async def replay(console: Console, data: Path, run: str, given: Mapping[str, str], *, real_time: bool = False) -> int:
    """Returns the exit status: 0 only when files, ledger and ending are what they were."""
    run_id = parse_run_id(run)
    with _place() as place:
        record = await _record(data, run_id)
        file = place / CASSETTE
        await _fetch(data, run_id, file)
        async with _forge(data, given) as settings:
            token = await _clone_token(data, settings, record)
            order = ReplayOrder(
                cassette=str(file),
                git_url=f"{settings.github_url.rstrip('/')}/{record.full_name}.git",
                token=token,
                real_time=real_time,
            )
            console.print(f"[bold]replay[/]    {run_id}: {record.full_name} at {record.base_sha[:12]}, without a model")
            report = await _replayed(order, given, place)
    tell(console, report)
    return 0 if report.same else 1


@contextmanager
def _place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pullwright-replay-") as folder:
        place = Path(folder)
        place.chmod(0o711)  # the agent, a user of its own, passes through to its workspace
        yield place


async def _record(data: Path, run_id: RunId) -> Run:
    if not (data / "state.db").exists():
        raise NotFound(
            f"There is no installation in {data}.", code="no_installation", hint="Name its folder: --data FOLDER."
        )
    store = SqliteDocuments.open(data / "state.db", system_clock)
    try:
        return await Runs(store).get(run_id)
    finally:
        await store.close()


async def _fetch(data: Path, run_id: RunId, file: Path) -> None:
    bucket = FolderBucket(data / "artifacts")
    key = f"runs/{run_id}/{CASSETTE}"
    try:
        if await bucket.stat(key) is None:
            raise NotFound(
                f"Run {run_id} has no cassette.",
                code="no_cassette",
                hint="Only runs that were recorded can be replayed: set RECORD_CASSETTES=true before the run.",
            )
        with file.open("wb") as sink:
            async for piece in bucket.open(key):
                sink.write(piece)
    finally:
        await bucket.close()


@asynccontextmanager
async def _forge(data: Path, given: Mapping[str, str]) -> AsyncIterator[DispatcherSettings]:
    """Settings by which the forge is reached, while it runs: the real GitHub, the installation's own, or one of ours."""
    if given.get("GITHUB_APP_ID"):
        yield load(DispatcherSettings, given)
        return
    store = FileSecrets(data / "secrets", entropy=os.urandom)
    if running := await running_forge(data):
        yield load(DispatcherSettings, {"GITHUB_URL": running, "GITHUB_API_URL": f"{running}/api/v3"})
        return
    world = await prepare_world(data, given, store, dispatcher_url="http://127.0.0.1:9")  # nothing is there to hear it
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    (child,) = (each for each in world.children(inherited) if each.name == "forge")
    await child.start()
    try:
        await answers(child, dict(world.probes)["forge"])
        yield load(DispatcherSettings, {name: world.settings[name] for name in ("GITHUB_URL", "GITHUB_API_URL")})
    finally:
        await child.stop()


async def _clone_token(data: Path, settings: DispatcherSettings, run: Run) -> str:
    from infra.github.app_auth import AppCredentials
    from infra.github.client import GitHubForge
    from infra.local.bootstrap import APP_ID

    key = settings.github_app_private_key
    if not key:
        stored = await FileSecrets(data / "secrets", entropy=os.urandom).get(APP_PRIVATE_KEY)
        key = stored.text if stored else ""
    forge = GitHubForge.connect(
        api_url=settings.github_api_url,
        git_url=settings.github_url,
        credentials=AppCredentials(settings.github_app_id or str(APP_ID), key),
        clock=system_clock,
    )
    try:
        name = Repository(owner=run.owner, name=run.repo)
        return (await forge.access_token(run.installation_id, name, CLONE_PERMISSIONS)).value
    finally:
        await forge.close()


async def _replayed(order: ReplayOrder, given: Mapping[str, str], place: Path) -> ReplayReport:
    environment = {
        **{name: os.environ[name] for name in INHERITED if name in os.environ},
        **{name: given[name] for name in names(RunnerSettings) if name in given},
        "WORK_DIR": str(place),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "runner.replay"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        told, said = await process.communicate(msgspec.json.encode(order))
    except asyncio.CancelledError:
        process.terminate()  # it ends its agent before it goes
        await process.wait()
        raise
    if process.returncode != 0:
        raise Unavailable(
            f"The replay could not be done. {said.decode(errors='replace').strip()[-2_000:]}", code="replay_failed"
        )
    return msgspec.json.decode(told, type=ReplayReport)


def tell(console: Console, report: ReplayReport) -> None:
    """What was compared, and what came of it, for a person."""
    for point in report.points:
        sign = "[green]same[/]     " if point.same else "[bold red]different[/]"
        console.print(f"{sign} {point.name}: ", end="")
        words = point.recorded if point.same else f"recorded {point.recorded}, replayed {point.replayed}"
        console.print(words, markup=False)
    for path in report.files:
        console.print(f"          not the same: {path}", markup=False)
    console.print(
        f"exchanges  {report.exchanges} recorded, {report.alike} asked alike, {report.differing} differently "
        f"({report.seconds:.1f} s)"
    )
    if (first := report.first_difference) is not None:
        where = f"exchange {first.number}" if first.number else "a question that has no place in the recording"
        console.print(f"first difference: {where}", markup=False)
        console.print(f"  recorded: {first.recorded}\n  asked:    {first.asked}", markup=False)
    for note in report.notes:
        console.print(f"note: {note}", markup=False)
    console.print(f"[dim]Not compared: {'; '.join(report.ignored)}.[/]")
