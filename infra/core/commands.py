"""What a person may have run beside a working agent: fixed commands, word for word. Nothing is parsed, nothing is expanded.

The control plane checks before a command is queued, the runner checks again before it starts one: a list that only one of
the two knew could be talked around.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from infra.core.errors import Forbidden, Invalid

CLAUDE_CODE = "claude-code"
LINES = "lines"
AGENT_TYPES = (CLAUDE_CODE, LINES)
"""The kinds of agent there are (``runner/agents/registry.py``)."""

MAX_EXTRA = 50
MAX_COMMAND_CHARACTERS = 200

_EVERY_AGENT = frozenset(AGENT_TYPES)
_WHO_BUILDS = frozenset({CLAUDE_CODE})
_WORD = re.compile(r"[A-Za-z0-9._/=:@+,-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedCommand:
    """``argv`` is the whole command; ``agents``: the agent types beside which it may run."""

    argv: tuple[str, ...]
    description: str
    agents: frozenset[str] = _EVERY_AGENT

    @property
    def text(self) -> str:
        return " ".join(self.argv)


def _allow(text: str, description: str, agents: frozenset[str] = _EVERY_AGENT) -> AllowedCommand:
    return AllowedCommand(argv=tuple(text.split(" ")), description=description, agents=agents)


COMMANDS: tuple[AllowedCommand, ...] = (
    _allow("npm test", "Run the tests of a Node.js project", _WHO_BUILDS),
    _allow("npm run test", "Run the script named test of package.json", _WHO_BUILDS),
    _allow("pnpm test", "Run the tests with pnpm", _WHO_BUILDS),
    _allow("yarn test", "Run the tests with Yarn", _WHO_BUILDS),
    _allow("pytest", "Run the Python tests", _WHO_BUILDS),
    _allow("pytest -v", "Run the Python tests and name each one", _WHO_BUILDS),
    _allow("go test ./...", "Run the tests of all Go packages", _WHO_BUILDS),
    _allow("cargo test", "Run the Rust tests", _WHO_BUILDS),
    _allow("git diff", "Show what was changed and not staged; kept as latest.diff"),
    _allow("git diff --cached", "Show what was staged"),
    _allow("git status", "Show which files were changed"),
    _allow("git log --oneline -10", "Show the last ten commits"),
    _allow("ls -la", "List the top folder"),
    _allow("pwd", "Show where the agent works"),
)


def parse_extra(text: str) -> tuple[AllowedCommand, ...]:
    """``EXTRA_ALLOWED_COMMANDS``: a comma list such as ``make build,make test,./custom-script.sh``.

    Raises ``Invalid`` (``invalid_extra_command``) for words that a shell would read as more than a word: there is no shell,
    so they would not do what they seem to.
    """
    entries = [entry for part in text.split(",") if (entry := part.strip())]
    if len(entries) > MAX_EXTRA:
        raise Invalid(f"More than {MAX_EXTRA} extra commands.", code="invalid_extra_command", hint="Allow fewer.")
    return tuple(_extra(entry) for entry in entries)


def _extra(text: str) -> AllowedCommand:
    words = text.split(" ")
    if len(text) > MAX_COMMAND_CHARACTERS or not all(_WORD.fullmatch(word) for word in words) or "=" in words[0]:
        raise Invalid(
            f"{text[:80]!r} cannot be an allowed command.",
            code="invalid_extra_command",
            hint="Plain words with one space between them; no quotes, variables, pipes or other signs of a shell.",
        )
    return AllowedCommand(argv=tuple(words), description="Allowed by EXTRA_ALLOWED_COMMANDS")


def commands_for(agent: str = "", extra: Sequence[AllowedCommand] = ()) -> tuple[AllowedCommand, ...]:
    """The list of an agent type; of all of them together when ``agent`` is empty."""
    return tuple(command for command in (*COMMANDS, *extra) if not agent or agent in command.agents)


def check_command(argv: Sequence[str], *, agent: str = "", extra: Sequence[AllowedCommand] = ()) -> AllowedCommand:
    """The command that ``argv`` is, word for word. Raises ``Forbidden`` (``command_not_allowed``).

    A text is checked as ``check_command(text.split(" "))``: two spaces make an empty word, which no command has.
    """
    given = tuple(argv)
    allowed = commands_for(agent, extra)
    for command in allowed:
        if command.argv == given:
            return command
    raise Forbidden(
        f"{' '.join(given)[:80]!r} is not an allowed command.",
        code="command_not_allowed",
        hint="Exactly one of: " + ", ".join(command.text for command in allowed) + ".",
    )
