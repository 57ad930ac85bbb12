"""What GitHub tells about the App and its repositories, as far as it changes what is known of projects."""

from __future__ import annotations

from dispatcher.services import Services
from infra.core.repository import Repository, parse_full_name
from infra.core.triggers import PATH
from infra.github.events import Event
from infra.github.occasions import settings_changed
from infra.github.payloads import (
    InstallationEvent,
    InstallationRepositoriesEvent,
    InstalledOn,
    PushEvent,
    RepositoryEvent,
)

_GONE = frozenset({"deleted", "suspend"})
_MOST_READ = 5
"""Projects read at once when the App comes to an account; others are read at their first delivery, GitHub is waiting."""


async def settings_of(event: Event, services: Services) -> None:
    """Reads or forgets the settings of the projects that the event is about; does nothing for most events."""
    match event:
        case PushEvent() if settings_changed(event, PATH):
            await services.triggers.refresh(
                parse_full_name(event.repository.full_name), event.installation.id, services.forge
            )
        case RepositoryEvent(action="renamed" | "transferred" | "deleted" | "edited"):
            await services.triggers.forget(parse_full_name(event.repository.full_name))
        case InstallationEvent():
            await _met(event.repositories or (), event.installation.id, services, gone=event.action in _GONE)
        case InstallationRepositoriesEvent():
            await _met(event.repositories_removed, event.installation.id, services, gone=True)
            await _met(event.repositories_added, event.installation.id, services, gone=False)
        case _:
            return


async def _met(named: tuple[InstalledOn, ...], installation_id: int, services: Services, *, gone: bool) -> None:
    repositories: list[Repository] = [parse_full_name(each.full_name) for each in named]
    if gone:
        for repository in repositories:
            await services.triggers.forget(repository)
        return
    for repository in repositories[:_MOST_READ]:
        await services.triggers.refresh(repository, installation_id, services.forge)
