"""Which tools an agent may use: a pure decision for each call, made outside the agent's reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

POINTLESS_UNATTENDED = frozenset(
    {
        "AskUserQuestion",
        "CronCreate",
        "CronDelete",
        "CronList",
        "EnterPlanMode",
        "EnterWorktree",
        "ExitPlanMode",
        "ExitWorktree",
        "ListAgents",
        "Monitor",
        "RemoteTrigger",
        "ScheduleWakeup",
        "SendMessage",
        "SendUserFile",
        "Workflow",
    }
)
"""Tools that wait for somebody, or for a time after the run."""

REACHING_OUT = frozenset({"WebFetch", "WebSearch"})
"""Tools by which text of the run leaves for servers of others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolPolicy:
    denied: frozenset[str] = POINTLESS_UNATTENDED | REACHING_OUT


@dataclass(frozen=True, slots=True)
class Allow:
    pass


@dataclass(frozen=True, slots=True)
class Deny:
    """``reason`` is told to the agent and shown to people."""

    reason: str


def decide_tool(policy: ToolPolicy, name: str, arguments: Mapping[str, Any]) -> Allow | Deny:
    """``arguments`` are the agent's own words; nothing in them widens what the name forbids."""
    del arguments  # until rules look into them, the name decides
    if name in policy.denied:
        return Deny(f"The tool {name} is not available in this run.")
    return Allow()
