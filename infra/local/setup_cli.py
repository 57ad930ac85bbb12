"""``pullwright setup``: what is done once."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from infra.core.secrets import Secrets
from infra.settings import DispatcherSettings, load

setup = typer.Typer(no_args_is_help=True, help="What is done once.")

_SECONDS = 3600.0
"""GitHub's code is good for an hour."""


@setup.callback()
def _group() -> None:
    """Keeps ``github-app`` a command of its own while it is the only one."""


@setup.command("github-app")
def github_app(
    url: Annotated[str, typer.Option(help="The dispatcher's address, as GitHub reaches it.", prompt=True)],
    name: Annotated[str, typer.Option(help="Of the App; no other on GitHub may have it.")] = "Pullwright",
    organization: Annotated[str, typer.Option(help="Whose App it will be. Empty: your own.")] = "",
    data: Annotated[Path, typer.Option(help="Where local state is kept.")] = Path(".data"),
    project: Annotated[str, typer.Option(help="Google Cloud project to keep the secrets in, instead of here.")] = "",
) -> None:
    """Create the GitHub App with one click, and keep its id, key and webhook secret."""
    asyncio.run(_github_app(url.rstrip("/"), name, organization, data.resolve(), project))


async def _github_app(url: str, name: str, organization: str, data: Path, project: str) -> None:
    from infra.github.setup import AppSetup
    from infra.local.forge.server import Server

    settings = load(DispatcherSettings)
    made = AppSetup(
        api_url=settings.github_api_url,
        github_url=settings.github_url,
        organization=organization,
        name=name,
        webhook_url=f"{url}/webhook/github",
        secrets=_secrets(data, project),
        entropy=os.urandom,
    )
    server = Server(made.site())
    made.own_url = server.url
    await server.start()
    try:
        typer.echo(f"Open {server.url} in a browser on this machine, and press the button.")
        app = await asyncio.wait_for(made.done, _SECONDS)
        typer.echo(f"The App {app.slug} is made. Install it: {app.html_url}/installations/new")
        typer.echo("Then look whether all is well: pullwright doctor")
    finally:
        await server.stop()
        await made.secrets.close()


def _secrets(data: Path, project: str) -> Secrets:
    if project:
        from infra.gcp.secrets import SecretManagerSecrets

        return SecretManagerSecrets(project=project)
    from infra.local.secrets import FileSecrets

    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    return FileSecrets(data / "secrets", entropy=os.urandom)
