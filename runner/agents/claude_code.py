"""Claude Code, driven through its SDK, unattended and inside a sandbox.

Nothing of the repository configures it: no setting source is read, no MCP server but ours. Its environment is made from
nothing, its home is the run's own, its model is behind the broker, and each tool call is decided out here.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from infra.core.clock import Clock
from infra.core.commands import CLAUDE_CODE
from infra.core.ids import Entropy
from infra.core.timeline import EventType
from runner.agents.claude_session import Session
from runner.agents.port import Job, Result, Sink
from runner.sandbox import Box, Sandbox, wall_words
from runner.shielded import to_the_end

if TYPE_CHECKING:
    from claude_agent_sdk import ClaudeAgentOptions
    from claude_agent_sdk.types import McpServerConfig
    from mcp.server import Server

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_LONGEST_LINE = 32 * 1024 * 1024
_BASH_MS, _LONGEST_BASH_MS = 120_000, 600_000  # Claude Code's own defaults

# What each one does was measured with Claude Code 2.1.329; https://code.claude.com/docs/en/env-vars
_SWITCHES = {
    "IS_SANDBOX": "1",  # lets bypassPermissions work as root: permission is decided by our hook and the box
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    "CLAUDE_CODE_DISABLE_CLAUDE_MDS": "1",
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",  # one result, after everything
    "CLAUDE_CODE_ENABLE_TODO_TOOLS": "1",  # these two give TodoWrite, the checklist that people see
    "CLAUDE_CODE_ENABLE_TASKS": "0",
    "CLAUDE_CODE_MAX_SUBAGENT_SPAWN_DEPTH": "1",
    "CLAUDE_CODE_MAX_CONCURRENT_SUBAGENTS": "5",
    "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
    "ENABLE_TOOL_SEARCH": "false",  # our one tool is offered at once instead of behind a search
    "MCP_TOOL_TIMEOUT": "86400000",  # people take their time; the runner has its own limit
    "GIT_TERMINAL_PROMPT": "0",
    "LANG": "C.UTF-8",
    "SHELL": "/bin/bash",
    "TERM": "dumb",
}
_SETTINGS = json.dumps({"attribution": {"commit": "", "pr": ""}})


def preload() -> None:
    """Imports the SDK, which takes most of a second. A host calls it in a thread, while it clones."""
    import claude_agent_sdk  # noqa: F401 - for its effect

    import runner.agents.claude_messages  # noqa: F401 - the same


def bundled_program() -> Path:
    """The CLI that comes with the SDK."""
    import claude_agent_sdk

    return Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"


class ClaudeCode:
    """``path``: the PATH of the agent. ``program``: the CLI, by default the one that comes with the SDK. ``model_retries``: how
    often it repeats a request that failed for a passing reason; ten take about three minutes. ``grace_seconds``: what an agent that
    somebody stops, and that does not go by itself, gets before it is killed."""

    type = CLAUDE_CODE

    def __init__(
        self,
        *,
        sandbox: Sandbox,
        clock: Clock,
        entropy: Entropy,
        path: str = DEFAULT_PATH,
        program: Path | None = None,
        model_retries: int = 10,
        grace_seconds: float = 10.0,
    ) -> None:
        self._sandbox = sandbox
        self._clock = clock
        self._entropy = entropy
        self._path = path
        self._program = program
        self._model_retries = model_retries
        self._grace_seconds = grace_seconds

    def command(self, job: Job) -> str:
        return f"{self._program or 'claude'} --model {job.model}"

    async def run(self, job: Job, sink: Sink) -> Result:
        box = Box(
            id=job.id,
            tree=job.tree,
            home=job.home,
            tmp=job.tmp,
            environment=environment_for(job, path=self._path, model_retries=self._model_retries),
            uid=job.uid,
            limits=job.box_limits,
            doors=job.doors,
            own_tree=job.own_tree,
        )
        session_id = job.new_session_id or str(uuid.UUID(bytes=self._entropy(16), version=4))
        try:
            launcher = await self._sandbox.launcher(box, self._program or bundled_program())
            await sink(EventType.INFO, {"message": wall_words(self._sandbox, box), "code": "sandbox"})
            session = Session(
                job,
                sink,
                options_for(job, session_id, launcher),
                clock=self._clock,
                end_processes=lambda: self._sandbox.destroy(box),
                interrupt_processes=lambda: self._sandbox.interrupt(box),
                grace_seconds=self._grace_seconds,
            )
            return await session.play()
        finally:
            await to_the_end(self._sandbox.destroy(box))


def environment_for(job: Job, *, path: str, model_retries: int) -> dict[str, str]:
    """All of the agent's environment. The key in it is the broker's placeholder."""
    longest_bash = min(_LONGEST_BASH_MS, job.limits.idle_seconds * 900)  # a silent command must not look like a hang
    return {
        **_SWITCHES,
        **job.environment,
        "PATH": path,
        "HOME": str(job.home),
        "CLAUDE_CONFIG_DIR": str(job.home / ".claude"),
        "TMPDIR": str(job.tmp),
        "BASH_DEFAULT_TIMEOUT_MS": str(min(_BASH_MS, longest_bash)),
        "BASH_MAX_TIMEOUT_MS": str(longest_bash),
        "CLAUDE_CODE_MAX_RETRIES": str(model_retries),
        "ANTHROPIC_BASE_URL": job.model_access.url,
        "ANTHROPIC_API_KEY": job.model_access.token,
        "ANTHROPIC_CUSTOM_HEADERS": f"X-Script-Var-cwd: {job.tree}",  # older models are not told where they work
    }


def options_for(job: Job, session_id: str, launcher: Path) -> ClaudeAgentOptions:
    from claude_agent_sdk import ClaudeAgentOptions

    return ClaudeAgentOptions(
        cli_path=launcher,
        cwd=job.tree,
        model=job.model,
        max_turns=job.limits.max_turns,
        system_prompt={"type": "preset", "preset": "claude_code", "append": job.append_system_prompt},
        setting_sources=[],
        settings=_SETTINGS,
        mcp_servers=_in_process(job.mcp_servers),
        strict_mcp_config=True,
        permission_mode="bypassPermissions",
        tools=None if job.tool_policy.offered is None else sorted(job.tool_policy.offered),
        disallowed_tools=sorted(job.tool_policy.denied),
        verbatim_prompts=True,
        session_id=session_id if job.fork or not job.session_id else None,
        resume=job.session_id,
        fork_session=job.fork,
        max_buffer_size=_LONGEST_LINE,
    )


def _in_process(servers: Mapping[str, object]) -> dict[str, McpServerConfig]:
    """Servers that the CLI reaches through its pipes to this process: nothing of them is in the box, not even an address."""
    return {name: {"type": "sdk", "name": name, "instance": cast("Server", server)} for name, server in servers.items()}
