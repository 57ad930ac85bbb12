"""Pages of a list, with GitHub's ``Link`` header. https://docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

from infra.local.forge.rest.http import Call, Reply

_DEFAULT, _MOST = 30, 100

T = TypeVar("T")


def window(call: Call) -> tuple[int, int]:
    """Page (from 1) and page size; what makes no sense becomes the default, as on GitHub."""
    return max(_whole(call.query.get("page"), 1), 1), per_page(call)


def per_page(call: Call) -> int:
    asked = _whole(call.query.get("per_page"), _DEFAULT)
    return min(asked, _MOST) if asked > 0 else _DEFAULT


def cut(call: Call, rows: Sequence[T]) -> tuple[Sequence[T], dict[str, str]]:
    """The rows of the page asked for, and the headers that lead to the others."""
    page, size = window(call)
    last = max((len(rows) + size - 1) // size, 1)
    near = {"prev": min(page - 1, last), "next": page + 1, "last": last, "first": 1}
    if page >= last:
        del near["next"], near["last"]
    if page <= 1:
        del near["prev"], near["first"]
    links = ", ".join(f'<{link(call, page=str(target))}>; rel="{name}"' for name, target in near.items())
    return rows[(page - 1) * size : page * size], ({"link": links} if links else {})


def link(call: Call, **changes: str) -> str:
    return f"{call.world.api(call.path)}?{urlencode({**call.query, **changes})}"


def reply(call: Call, shapes: Sequence[Any]) -> Reply:
    rows, headers = cut(call, shapes)
    return Reply(data=list(rows), headers=headers)


def _whole(text: str | None, default: int) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 10 else default
