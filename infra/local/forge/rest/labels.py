"""Labels of a repository, and on an issue."""

from __future__ import annotations

import re
from typing import Any

from msgspec.structs import replace

from infra.local.forge import issue, label
from infra.local.forge.issue import Issue
from infra.local.forge.label import Label
from infra.local.forge.problem import not_found, validation_failed
from infra.local.forge.rest import paging
from infra.local.forge.rest.http import Body, Call, Reply, found
from infra.local.forge.rest.issues import label_names, target

_COLOR = re.compile(r"[0-9a-fA-F]{6}")


async def list_labels(call: Call) -> Reply:
    return paging.reply(call, [label.shape(call.world, call.repo, row) for row in label.of(call.world, call.repo)])


class NewLabel(Body, frozen=True, kw_only=True):
    name: str
    color: str = label.NEW_COLOR
    description: str | None = None


async def create_label(call: Call) -> Reply:
    new = call.body(NewLabel)
    if not new.name.strip():
        raise validation_failed("Label", field="name", code="missing_field")
    if _COLOR.fullmatch(new.color) is None:
        raise validation_failed("Label", field="color")
    if label.find(call.world, call.repo, new.name):
        raise validation_failed("Label", field="name", code="already_exists")
    row = label.ensure(call.world, call.repo, new.name)
    row = call.world.labels.put(replace(row, color=new.color, description=new.description))
    return Reply(status=201, data=label.shape(call.world, call.repo, row))


async def get_label(call: Call) -> Reply:
    row = found(label.find(call.world, call.repo, call.parameters["name"]))
    return Reply(data=label.shape(call.world, call.repo, row))


async def list_issue_labels(call: Call) -> Reply:
    return Reply(data=_worn(call, target(call, "read")))


class Names(Body, frozen=True, kw_only=True):
    labels: tuple[str | dict[str, Any], ...] = ()


async def add_issue_labels(call: Call) -> Reply:
    row = target(call, "write", "triage")
    return await _set(call, row, [*_names(call, row), *label_names(call.body(Names).labels)])


async def set_issue_labels(call: Call) -> Reply:
    return await _set(call, target(call, "write", "triage"), label_names(call.body(Names).labels))


async def clear_issue_labels(call: Call) -> Reply:
    await _set(call, target(call, "write", "triage"), [])
    return Reply(status=204)


async def remove_issue_label(call: Call) -> Reply:
    row = target(call, "write", "triage")
    name = call.parameters["name"].lower()
    worn = _names(call, row)
    kept = [other for other in worn if other.lower() != name]
    if len(kept) == len(worn):
        raise not_found("Label does not exist")
    return await _set(call, row, kept)


async def _set(call: Call, row: Issue, names: list[str]) -> Reply:
    return Reply(data=_worn(call, await issue.set_labels(call.world, call.repo, call.actor, row, names)))


def _labels(call: Call, row: Issue) -> list[Label]:
    return [entry for entry in map(call.world.labels.get, row.labels) if entry]


def _names(call: Call, row: Issue) -> list[str]:
    return [entry.name for entry in _labels(call, row)]


def _worn(call: Call, row: Issue) -> list[dict[str, Any]]:
    return [label.shape(call.world, call.repo, entry) for entry in _labels(call, row)]
