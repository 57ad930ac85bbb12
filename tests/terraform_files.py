"""Our Terraform as a tree, read without Terraform: resources, locals and variables by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import hcl2

FOLDER = Path(__file__).resolve().parents[1] / "terraform"
_META = {"count", "for_each", "depends_on", "lifecycle", "provider", "dynamic"}


@dataclass(frozen=True)
class Block:
    """Arguments as HCL wrote them (quotes taken off plain text), and nested blocks, ``dynamic`` ones under their own name."""

    arguments: dict[str, Any] = field(default_factory=dict)
    blocks: dict[str, list[Block]] = field(default_factory=dict)


@cache
def files() -> dict[str, dict[str, Any]]:
    return {path.name: hcl2.loads(path.read_text()) for path in sorted(FOLDER.glob("*.tf"))}


def resources() -> dict[tuple[str, str], Block]:
    """By (type, name)."""
    return dict(_labelled("resource"))


def data_sources() -> dict[tuple[str, str], Block]:
    return dict(_labelled("data"))


def variables() -> set[str]:
    return {_text(name) for tree in files().values() for item in tree.get("variable", []) for name in _names(item)}


def local_values() -> dict[str, Any]:
    """All locals; plain texts without quotes, expressions as ``${…}``."""
    found: dict[str, Any] = {}
    for tree in files().values():
        for block in tree.get("locals", []):
            found |= {name: _plain(value) for name, value in block.items() if not name.startswith("__")}
    return found


def _labelled(kind):
    for tree in files().values():
        for item in tree.get(kind, []):
            for type_name in _names(item):
                for name in _names(item[type_name]):
                    yield (_text(type_name), _text(name)), _block(item[type_name][name])


def _names(mapping):
    return [name for name in mapping if not name.startswith("__")]


def _block(body) -> Block:
    made = Block()
    for name in _names(body):
        value = body[name]
        if name == "dynamic":
            for item in value:
                for label in _names(item):
                    inner = [_block(content) for content in item[label]["content"]]
                    made.blocks.setdefault(_text(label), []).extend(inner)
        elif name in _META:
            continue
        elif _is_block(value):
            made.blocks.setdefault(name, []).extend(_block(item) for item in value)
        else:
            made.arguments[name] = _plain(value)
    return made


def _is_block(value) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) and "__is_block__" in item for item in value)
    )


def _plain(value):
    if isinstance(value, dict):
        return {_text(name): _plain(item) for name, item in value.items() if not name.startswith("__")}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return _text(value)


def _text(value):
    return value[1:-1] if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"' else value
