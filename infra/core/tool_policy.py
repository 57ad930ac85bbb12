"""Which tools an agent may use: a pure decision for each call, made outside the agent's reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.core.container_tools import ToolRules
from infra.core.tool_risk import Assessment, Risk, assess
from infra.core.tools import HOUSEKEEPING, OWN_SERVER, POINTLESS_UNATTENDED, REACHING_OUT, TOOLS, mcp_server

IMPOSSIBLE = POINTLESS_UNATTENDED | REACHING_OUT

_KNOWN = HOUSEKEEPING | frozenset(name for names in TOOLS.values() for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolPolicy:
    """Names are the agent's; ``mcp__SERVER`` means all tools of a server.

    ``allowed`` None: every tool we know and nobody denied. ``servers``: MCP servers that the run has. ``most``: calls that look riskier are
    denied.
    """

    allowed: frozenset[str] | None = None
    denied: frozenset[str] = IMPOSSIBLE
    servers: frozenset[str] = frozenset()
    most: Risk = Risk.HIGH

    @property
    def offered(self) -> frozenset[str] | None:
        """The built-in tools that the agent should know of; None for its own choice."""
        if self.allowed is None:
            return None
        return frozenset(name for name in self.allowed if mcp_server(name) is None) | HOUSEKEEPING


@dataclass(frozen=True, slots=True)
class Allow:
    """``reason``: what allows it, and how it looks."""

    reason: str
    risk: Risk


@dataclass(frozen=True, slots=True)
class Deny:
    """``reason`` is told to the agent and shown to people."""

    reason: str
    risk: Risk


Decision = Allow | Deny


def policy_for(rules: ToolRules, servers: Sequence[str]) -> ToolPolicy:
    """A project's rules on top of what no run has. ``servers``: the MCP servers that run."""
    return ToolPolicy(
        allowed=None if rules.allowed is None else frozenset(rules.allowed),
        denied=IMPOSSIBLE | frozenset(rules.denied),
        servers=frozenset(servers),
        most=rules.max_risk,
    )


def decide_tool(policy: ToolPolicy, name: str, arguments: Mapping[str, Any], *, inside: Sequence[str] = ()) -> Decision:
    """``arguments`` are the agent's own words; nothing in them widens what the name forbids.

    ``inside``: the agent's own folders. A tool that nobody here knows is denied: it may do anything.
    """
    looks = assess(name, arguments, inside=inside)
    refused = _refused(policy, name, looks)
    if refused:
        return Deny(refused, looks.risk)
    return Allow(", ".join(looks.reasons), looks.risk)


def _refused(policy: ToolPolicy, name: str, looks: Assessment) -> str:
    """Why not; empty when nothing speaks against it."""
    server = mcp_server(name)
    if server == OWN_SERVER:
        return ""
    names = {name} if server is None else {name, f"mcp__{server}"}
    if names & policy.denied:
        return f"The tool {name} is not available in this run."
    if server is not None and server not in policy.servers:
        return f"The tool {name} is not available: this run has no MCP server {server}."
    if server is None and name not in _KNOWN:
        return f"The tool {name} is not available: nobody here knows what it does."
    if policy.allowed is not None and name not in HOUSEKEEPING and not names & policy.allowed:
        return f"The tool {name} is not among those that this project allows."
    if looks.risk.rank > policy.most.rank:
        why = ", ".join(looks.reasons)
        return f"This call looks {looks.risk} in risk ({why}); this project allows up to {policy.most}."
    return ""
