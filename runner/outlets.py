"""Ways out of the sandbox that lead through the model's own servers: what a request may make them fetch, search or run. Pure.

Everything is refused that is not known to stay within the request: a kind of source or of tool that is new is an outlet until
somebody has looked at it. https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from infra.core.errors import Forbidden
from infra.core.outlets import URL_SOURCES, WEB_FETCH, WEB_SEARCH

_SERVER_TOOLS = {"web_search": WEB_SEARCH, "web_fetch": WEB_FETCH}
_LOCAL_TOOLS = ("bash_", "text_editor_", "computer_", "memory_", "tool_search_tool_")
_LOCAL_SOURCES = frozenset({"base64", "text", "content"})


class Outlet(Forbidden):
    """The request would make the model's servers reach something for the agent."""

    default_code = "model_outlet"


def check_outlets(fields: Mapping[str, Any], allowed: Collection[str]) -> None:
    """Raises ``Outlet`` with a sentence for the agent. ``allowed``: names of ``infra.core.outlets.OUTLETS``."""
    for tool in _list(fields.get("tools")):
        _check_tool(tool, allowed)
    for message in _list(fields.get("messages")):
        if isinstance(message, dict):
            _check_blocks(message.get("content"), allowed)
    _check_blocks(fields.get("system"), allowed)


def _check_tool(tool: Any, allowed: Collection[str]) -> None:
    kind = tool.get("type", "custom") if isinstance(tool, dict) else tool
    if kind is None or kind == "custom" or (isinstance(kind, str) and kind.startswith(_LOCAL_TOOLS)):
        return
    name = next((outlet for prefix, outlet in _SERVER_TOOLS.items() if str(kind).startswith(prefix)), "")
    if name not in allowed:
        raise _refused(f"The server tool {str(kind)[:60]!r}", name)


def _check_blocks(content: Any, allowed: Collection[str]) -> None:
    for block in _blocks(content):
        source = block.get("source")
        if isinstance(source, dict) and source.get("type") not in _LOCAL_SOURCES:
            name = URL_SOURCES if source.get("type") == "url" else ""
            if name not in allowed:
                raise _refused(f"A source of type {str(source.get('type'))[:60]!r}", name)
        if "file_id" in block:
            raise _refused("A file of the model's own file store", "")


def _blocks(content: Any) -> Iterator[dict[str, Any]]:
    """All content blocks, also those within results of tools and within documents."""
    waiting = [content]
    while waiting:
        for block in _list(waiting.pop()):
            if isinstance(block, dict):
                yield block
                waiting.append(block.get("content"))
                if isinstance(source := block.get("source"), dict):
                    waiting.append(source.get("content"))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _refused(what: str, outlet: str) -> Outlet:
    remedy = f"add {outlet} to MODEL_OUTLETS to permit" if outlet else "this cannot be permitted"
    return Outlet(f"{what} is not available in this run: the model's servers would reach past the sandbox ({remedy}).")
