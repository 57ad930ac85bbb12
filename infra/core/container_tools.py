"""``tools.allowed`` and ``tools.denied`` of a project: names checked against what exists, mapped to the agent's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from infra.core.tool_risk import Risk
from infra.core.tools import BROWSER, BROWSER_SERVER, NEVER, TOOLS, agent_names, mcp_server
from infra.core.tree import Findings, Group, Node, choices, one_of, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRules:
    """Tools by the agent's names; ``mcp__SERVER`` stands for all tools of a server.

    ``allowed`` None: whatever is not denied. Denied wins. ``max_risk``: calls that look riskier are denied too.
    """

    allowed: tuple[str, ...] | None = None
    denied: tuple[str, ...] = ()
    max_risk: Risk = Risk.HIGH


def read_tools(group: Group, findings: Findings, *, servers: Sequence[str]) -> ToolRules:
    """``servers``: the MCP servers that the project switches on."""
    asked = group.entry("allowed") is not None
    allowed = list(_names(group, "allowed", findings, servers))
    denied = list(_names(group, "denied", findings, ()))
    for name, node, path in allowed:
        if name in {other for other, _, _ in denied}:
            findings.warn(node.place, path, f"{name} is denied too, and denied wins.")
    named = {name for name, _, _ in allowed}
    for name, node, path in denied:
        if name in {"Write", "Edit", "Read"} and (not asked or "Bash" in named):
            findings.warn(node.place, path, f"Bash can do what {name} does; denying {name} alone keeps nothing.")
    max_risk = group.scalar("maxRisk", one_of(list(Risk)), str(Risk.HIGH))
    group.close()
    return ToolRules(
        allowed=_mapped(name for name, _, _ in allowed) if asked else None,
        denied=_mapped(name for name, _, _ in denied),
        max_risk=Risk(max_risk),
    )


def _names(group: Group, key: str, findings: Findings, servers: Sequence[str]) -> Iterator[tuple[str, Node, str]]:
    for node, path in group.items(key):
        name = node.value
        problem = (
            _problem(name, servers, denied=key == "denied") if isinstance(name, str) else ("A name belongs here.", "")
        )
        if problem is not None:
            findings.error(node.place, path, *problem)
        elif isinstance(name, str):
            yield name, node, path


def _problem(name: str, servers: Sequence[str], *, denied: bool) -> tuple[str, str] | None:
    """Why the name cannot stand in the list, and what could; None when it can."""
    if name in NEVER:
        return None if denied else (f"No run has the tool {name}.", NEVER[name])
    server = BROWSER_SERVER if name == BROWSER else mcp_server(name)
    if server is not None:
        if denied or server in servers:
            return None
        return (
            f"{shown(name)} needs the MCP server {server}, which this file does not switch on.",
            f"Add it: mcpServers: [{{name: {server}}}].",
        )
    if not agent_names(name):
        return (
            f"There is no tool {shown(name)}.",
            f"{choices(name, [*TOOLS, BROWSER])} Tools of MCP servers: mcp__SERVER.",
        )
    return None


def _mapped(names: Iterator[str]) -> tuple[str, ...]:
    """``NEVER`` names stand for themselves in ``denied``, where they change nothing."""
    return tuple(sorted({each for name in names for each in (agent_names(name) or {name})}))
