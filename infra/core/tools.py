"""The agent's tools under the names that projects use for them, and those that no run has.

https://code.claude.com/docs/en/tools-reference
"""

from __future__ import annotations

import re
from collections.abc import Mapping

TOOLS: Mapping[str, frozenset[str]] = {
    "Read": frozenset({"Read", "NotebookRead"}),
    "Write": frozenset({"Write"}),
    "Edit": frozenset({"Edit", "MultiEdit", "NotebookEdit"}),
    "Bash": frozenset({"Bash", "BashOutput", "KillShell", "KillBash", "TaskOutput"}),
    "Glob": frozenset({"Glob", "LS"}),
    "Grep": frozenset({"Grep"}),
    "Task": frozenset({"Task", "Agent"}),
    "TodoWrite": frozenset({"TodoWrite", "TaskCreate", "TaskUpdate", "TaskList", "TaskGet"}),
    "Skill": frozenset({"Skill"}),
}
"""A project's name → the agent's names. Several, because versions of Claude Code call the same thing differently."""

ALIASES: Mapping[str, str] = {
    "MultiEdit": "Edit",
    "NotebookEdit": "Edit",
    "NotebookRead": "Read",
    "LS": "Glob",
    "Agent": "Task",
    "Shell": "Bash",
}

BROWSER = "Browser"
BROWSER_SERVER = "playwright"
"""What ``Browser`` stands for: the tools of this MCP server."""

HOUSEKEEPING = frozenset({"ToolSearch", "TaskStop", "StructuredOutput", "ReportFindings", "ListMcpResourcesTool"})
"""Tools by which the agent only arranges its own work; no list needs to name them."""

REACHING_OUT = frozenset({"WebFetch", "WebSearch"})
"""Tools by which text of the run leaves for servers of others, past the egress proxy."""

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

NEVER: Mapping[str, str] = {
    **dict.fromkeys(
        sorted(REACHING_OUT),
        "It sends text of the run to servers of others. Allow Bash and name the hosts in allowedDomains instead.",
    ),
    **dict.fromkeys(
        sorted(POINTLESS_UNATTENDED), "It waits for a person or a time that an unattended run does not have."
    ),
}
"""Names that exist and that no run can have → why, and what to do instead."""

OWN_SERVER = "people"
"""The platform's own in-process MCP server; a project's lists do not concern it."""

_MCP = re.compile(r"mcp__([A-Za-z0-9-]+(?:_[A-Za-z0-9-]+)*)(?:__([A-Za-z0-9_.-]+))?")


def mcp_server(name: str) -> str | None:
    """The server that a tool name such as ``mcp__github__get_issue`` (or ``mcp__github``, for all of its tools) belongs to."""
    found = _MCP.fullmatch(name)
    return None if found is None else found[1]


def agent_names(name: str) -> frozenset[str]:
    """The agent's names for a tool that a project names; empty when there is none. ``mcp__…`` names stand for themselves."""
    if name == BROWSER:
        return frozenset({f"mcp__{BROWSER_SERVER}"})
    if mcp_server(name) is not None:
        return frozenset({name})
    return TOOLS.get(ALIASES.get(name, name), frozenset())
