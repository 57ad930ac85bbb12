"""The main job, start to finish, on this machine: a dispatch call becomes a pull request that a browser can open."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from infra.core.errors import Invalid
from infra.local.bootstrap import DemoTask, World
from infra.local.client import Client
from infra.local.stack import Stack
from infra.local.terminal_view import RunView

LOOK_SECONDS = 600


async def demo(console: Console, given: Mapping[str, str]) -> int:
    """Returns the exit status: 0 only when the pull request is there and answers."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pullwright-demo-") as folder:
        async with Stack(Path(folder), given) as stack:
            assert stack.world is not None
            _introduce(console, stack.world, stack.sandbox, time.monotonic() - started)
            run = await _dispatch(console, stack.world.demo, Client(stack.url, stack.first_key))
            status = await _conclude(console, run)
            if status == 0:
                await _let_look(console)
            return status


async def _dispatch(console: Console, task: DemoTask | None, client: Client) -> dict[str, Any]:
    if task is None:
        raise Invalid(
            "The demo works on the local forge, but GITHUB_APP_ID is set.",
            code="demo_needs_local_forge",
            hint="Unset it for the demo, or run make up and dispatch to a repository of your own.",
        )
    console.print(f"[bold]dispatch[/]  {task.owner}/{task.repo}: {task.text.splitlines()[0]}")
    answer = await client.dispatch(owner=task.owner, repo=task.repo, task=task.text)
    console.print(f"[dim]run {answer['run_id']}[/]")
    return await RunView(console).show(client.follow(answer["run_id"]))


async def _let_look(console: Console) -> None:
    """In front of a person the page stays until Enter, so that the address can be opened; otherwise nothing waits."""
    if not (sys.stdin.isatty() and console.is_terminal):
        return
    console.print(f"\nOpen it in a browser now. [bold]Enter[/] ends the demo (so do {LOOK_SECONDS // 60} minutes).")
    pressed = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, pressed.set)
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(pressed.wait(), LOOK_SECONDS)
    finally:
        loop.remove_reader(sys.stdin)


def _introduce(console: Console, world: World, sandbox: str, seconds: float) -> None:
    console.print("[bold]Pullwright[/] – issues in, pull requests out\n")
    for line in world.explanation:
        console.print(f"  {line}")
    console.print(f"  sandbox {sandbox}", markup=False)
    console.print(f"  everything is up after {seconds:.1f} s\n")


async def _conclude(console: Console, run: Mapping[str, Any]) -> int:
    console.print()
    error = run.get("error")
    if run.get("status") != "succeeded" or not run.get("pr_url"):
        console.print(f"[bold red]The run ended as {run.get('status')}.[/]")
        if error:
            console.print(f"{error['message']}\n[dim]{error['hint']}[/]")
        return 1
    async with httpx.AsyncClient(timeout=10.0, trust_env=False) as http:
        page = await http.get(run["pr_url"])
    changes, tokens = run["changes"], run["tokens"]
    console.print(f"[bold green]Pull request[/]  {run['pr_url']}  [dim](answers {page.status_code})[/]")
    console.print(f"  changes   {changes['files']} files, +{changes['added']} −{changes['removed']}")
    console.print(f"  took      {run['duration_seconds']:.1f} s, {run['turns']} turns")
    console.print(f"  tokens    {tokens['input']:,} in, {tokens['output']:,} out, {tokens['cache_read']:,} from cache")
    console.print(f"  cost      ${run['cost_usd']:.4f} at list prices")
    if page.status_code != 200:
        console.print("[bold red]The pull request's page does not answer.[/]")
        return 1
    return 0
