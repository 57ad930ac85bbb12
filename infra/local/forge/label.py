"""Labels of a repository."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from infra.local.forge.account import node_id
from infra.local.forge.tables import Row

if TYPE_CHECKING:
    from infra.local.forge.repository import Repository
    from infra.local.forge.world import World

NEW_COLOR = "ededed"
"""What GitHub gives a label that is made by using it."""


class Label(Row, frozen=True, kw_only=True):
    repository: int
    name: str
    color: str = NEW_COLOR
    description: str | None = None


def find(world: World, repository: Repository, name: str) -> Label | None:
    return world.labels.at((repository.id, name.lower()))


def ensure(world: World, repository: Repository, name: str) -> Label:
    known = find(world, repository, name)
    return known or world.labels.put(Label(id=world.new_id(), repository=repository.id, name=name))


def of(world: World, repository: Repository) -> list[Label]:
    return world.labels.of(repository.id)


def shape(world: World, repository: Repository, row: Label) -> dict[str, Any]:
    return {
        "id": row.id,
        "node_id": node_id("LA", row.id),
        "url": world.api(f"/repos/{repository.full_name}/labels/{quote(row.name)}"),
        "name": row.name,
        "color": row.color,
        "default": False,
        "description": row.description,
    }
