"""What the model's own servers may do for an agent beyond answering, by name; nothing, unless the operator permits it."""

from __future__ import annotations

from collections.abc import Iterable

from infra.core.errors import Invalid

URL_SOURCES = "url_sources"
WEB_FETCH = "web_fetch"
WEB_SEARCH = "web_search"

OUTLETS = (URL_SOURCES, WEB_FETCH, WEB_SEARCH)
"""Images and documents by address; the server tools that read a page and that search the web."""


def parse_outlets(entries: Iterable[str]) -> tuple[str, ...]:
    """Raises ``Invalid`` naming the entry that is none and what there is."""
    names = tuple(name for entry in entries if (name := entry.strip()))
    for name in names:
        if name not in OUTLETS:
            raise Invalid(
                f"{name[:60]!r} is not something the model's servers can be permitted to do.",
                code="unknown_outlet",
                hint=f"There is: {', '.join(OUTLETS)}.",
            )
    return names
