"""The agents there are. A further one is a file beside these and a row here; ``docs/agents.md`` shows how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.core.clock import Clock
from infra.core.commands import CLAUDE_CODE, LINES
from infra.core.errors import Invalid
from infra.core.ids import Entropy
from runner.agents.port import Agent
from runner.sandbox import Sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What agents are made of. ``path``: their PATH. ``program``: instead of the agent's own; ``command``: for agents that run one."""

    sandbox: Sandbox
    clock: Clock
    entropy: Entropy
    path: str
    program: Path | None = None
    command: tuple[str, ...] = ()


def _claude_code(parts: Parts) -> Agent:
    from runner.agents.claude_code import ClaudeCode

    return ClaudeCode(
        sandbox=parts.sandbox, clock=parts.clock, entropy=parts.entropy, path=parts.path, program=parts.program
    )


def _lines(parts: Parts) -> Agent:
    from runner.agents.lines import LineAgent

    return LineAgent(sandbox=parts.sandbox, clock=parts.clock, path=parts.path, command=parts.command)


AGENTS: Mapping[str, Callable[[Parts], Agent]] = {CLAUDE_CODE: _claude_code, LINES: _lines}


def make_agent(kind: str, parts: Parts) -> Agent:
    """Raises ``Invalid`` for a kind that there is not, or that lacks what it needs."""
    if kind not in AGENTS:
        raise Invalid(f"There is no agent {kind!r}.", code="unknown_agent", hint=f"One of: {', '.join(AGENTS)}.")
    return AGENTS[kind](parts)
