"""``pullwright validate`` and ``pullwright secret``: what people do with a project's own file and secrets."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from infra.core.errors import Invalid
from infra.core.project_secrets import check_name, stored_name
from infra.core.repository import Repository, parse_full_name
from infra.core.secrets import Secrets

secret = typer.Typer(no_args_is_help=True, help="Secrets of one project, for ${NAME} in its container.yaml.")

_Name = Annotated[str, typer.Argument(help="As ${NAME} names it, such as LINEAR_API_KEY.")]
_Project = Annotated[str, typer.Argument(help="OWNER/REPO.")]
_Data = Annotated[Path, typer.Option(help="Where state is kept.")]


def validate(
    file: Annotated[Path, typer.Argument(help="A container.yaml, wherever it lies.")],
    models: Annotated[str, typer.Option(help="Comma list of models that runs may use. Empty: any.")] = "",
) -> None:
    """Check a project's file; each finding as FILE:LINE:COLUMN. Ends with 1 when there is an error."""
    from infra.core.container import Known, check_container
    from infra.documents import Unreadable, read_yaml

    allowed = [name for part in models.split(",") if (name := part.strip())]
    try:
        findings = check_container(read_yaml(_read(file)), Known(models=allowed or None)).findings
    except Unreadable as error:
        typer.echo(f"{file}:{error.place} {error.problem} {error.hint}".rstrip(), err=True)
        raise typer.Exit(1) from None
    for each in findings.errors:
        typer.echo(each.told(str(file)), err=True)
    for each in findings.warnings:
        typer.echo(f"warning: {each.told(str(file))}", err=True)
    if findings.errors:
        raise typer.Exit(1)
    typer.echo(f"{file}: fine")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror}.", code="unreadable_file") from error


@secret.command("set")
def set_secret(project: _Project, name: _Name, data: _Data = Path(".data")) -> None:
    """Store a value, read from standard input and never from the command line."""
    repository = parse_full_name(project)
    check_name(name)
    value = getpass.getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.read().removesuffix("\n")
    if not value:
        raise Invalid("The value is empty.", code="empty_secret", hint="Type it, or pipe it in.")
    version = asyncio.run(_put(data, repository, name, value.encode()))
    typer.echo(f"{name} of {repository} is set (version {version}).")


@secret.command("delete")
def delete_secret(project: _Project, name: _Name, data: _Data = Path(".data")) -> None:
    """Forget a value, all versions."""
    repository = parse_full_name(project)
    asyncio.run(_delete(data, repository, name))
    typer.echo(f"{name} of {repository} is gone.")


@secret.command("name")
def name_of_secret(project: _Project, name: _Name) -> None:
    """Print what the secret is called in the store, to set it there: gcloud secrets create NAME --data-file=-."""
    typer.echo(stored_name(parse_full_name(project), name))


def _store(data: Path) -> Secrets:
    from infra.local.secrets import FileSecrets

    return FileSecrets(data / "secrets", entropy=os.urandom)


async def _put(data: Path, repository: Repository, name: str, value: bytes) -> int:
    store = _store(data)
    try:
        return await store.put(stored_name(repository, name), value)
    finally:
        await store.close()


async def _delete(data: Path, repository: Repository, name: str) -> None:
    store = _store(data)
    try:
        await store.delete(stored_name(repository, name))
    finally:
        await store.close()
