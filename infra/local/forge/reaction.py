"""Reactions on issues, comments and review comments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.core.clock import Instant
from infra.local.forge import account
from infra.local.forge.account import node_id, stamp
from infra.local.forge.tables import Row

if TYPE_CHECKING:
    from infra.local.forge.account import Account
    from infra.local.forge.world import World

CONTENTS = ("+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes")


class Reaction(Row, frozen=True, kw_only=True):
    """``subject``: id of the issue, comment or review comment (ids are unique over all kinds)."""

    subject: int
    account: int
    content: str
    created_at: Instant


def of(world: World, subject: int) -> list[Reaction]:
    return world.reactions.of(subject)


def react(world: World, subject: int, actor: Account, content: str) -> tuple[Reaction, bool]:
    """The reaction, and whether it is new: reacting twice the same way changes nothing."""
    for row in of(world, subject):
        if row.account == actor.id and row.content == content:
            return row, False
    row = Reaction(id=world.new_id(), subject=subject, account=actor.id, content=content, created_at=world.now())
    return world.reactions.put(row), True


def shape(world: World, row: Reaction) -> dict[str, Any]:
    return {
        "id": row.id,
        "node_id": node_id("REA", row.id),
        "user": account.shape_id(world, row.account),
        "content": row.content,
        "created_at": stamp(row.created_at),
    }


def summary(world: World, subject: int, url: str) -> dict[str, Any]:
    """The counts that GitHub puts on each issue and comment."""
    given = [row.content for row in of(world, subject)]
    return {
        "url": f"{url}/reactions",
        "total_count": len(given),
        **{content: given.count(content) for content in CONTENTS},
    }
