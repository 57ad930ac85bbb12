"""How risky a tool call looks, and why: for people who read a run's log, and for projects that draw a line.

This is a look at words, not a wall: a shell can say anything in a thousand ways, and what keeps an agent from doing harm is its
box. So a low level promises nothing, and a high one is worth a look.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from infra.core.protected_paths import is_protected
from infra.core.tools import HOUSEKEEPING, OWN_SERVER, TOOLS, mcp_server

_MOST_TEXT = 20_000
"""Of a command; what is longer is judged by its beginning, and is risky for its length."""


class Risk(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def rank(self) -> int:
        return list(Risk).index(self)


@dataclass(frozen=True, slots=True)
class Assessment:
    """``reasons``: short phrases, gravest first; never empty."""

    risk: Risk
    reasons: tuple[str, ...]


_READING = TOOLS["Read"] | TOOLS["Glob"] | TOOLS["Grep"]
_WRITING = TOOLS["Write"] | TOOLS["Edit"]
_ARRANGING = HOUSEKEEPING | TOOLS["TodoWrite"]
_PATH_ARGUMENTS = ("file_path", "notebook_path", "path")

# A word of a shell is bounded by blanks, quotes and operators; each rule is linear.
_START, _END = r"(?<![\w./-])", r"(?![\w-])"


def _words(*names: str) -> re.Pattern[str]:
    return re.compile(f"{_START}(?:[\\w./-]*/)?(?:{'|'.join(names)}){_END}")


_COMMAND_RULES: Sequence[tuple[Risk, str, re.Pattern[str]]] = (
    (Risk.HIGH, "looks for the machine's metadata server", re.compile(r"169\.254\.169\.254|metadata\.google|fd00:ec2::254|2852039166|0xa9fea9fe", re.IGNORECASE)),
    (Risk.HIGH, "reads other processes", re.compile(r"/proc/(?!self/status|cpuinfo|meminfo|loadavg)")),
    (Risk.HIGH, "looks for credentials", re.compile(r"\.(?:ssh|aws|gnupg|netrc|npmrc|pypirc|docker/config|kube|git-credentials)\b|/etc/shadow|id_(?:rsa|ed25519)|credentials?\.(?:json|db)", re.IGNORECASE)),
    (Risk.HIGH, "asks for other rights", _words("sudo", "su", "doas", "pkexec", "setcap", "chroot", "unshare", "nsenter", "mount", "insmod")),
    (Risk.HIGH, "traces processes", _words("gdb", "strace", "ltrace", "ptrace", "gcore")),
    (Risk.HIGH, "reaches out", _words("curl", "wget", "nc", "ncat", "netcat", "socat", "telnet", "ssh", "scp", "sftp", "rsync", "ftp", "gh", "nslookup", "dig", "host", "ping")),
    (Risk.HIGH, "reaches out", re.compile(r"/dev/(?:tcp|udp)/|https?://|\bgit\s+(?:-\S+\s+\S+\s+)*(?:push|fetch|pull|clone|ls-remote|remote\s+(?:add|set-url))\b")),
    (Risk.HIGH, "changes what git runs", re.compile(r"\.git/(?:hooks|config|info)|core\.(?:hooksPath|fsmonitor|sshCommand|pager)|insteadOf|filter\.\w+\.(?:clean|smudge)|\.gitattributes|\.gitmodules")),
    (Risk.HIGH, "runs what it decodes", re.compile(r"(?:base64\s+(?:-d|--decode)|xxd\s+-r|openssl\s+enc)[^\n]*\|\s*(?:ba|z|da)?sh\b|\beval\b")),
    (Risk.HIGH, "outlives its call", _words("nohup", "setsid", "disown", "crontab", "at", "systemctl", "screen", "tmux")),
    (Risk.HIGH, "deletes widely", re.compile(r"\brm\s+(?:-\w+\s+)*(?:/|~|\$HOME|\.\.)(?:\s|$|/\*)|\bmkfs|\bdd\s+[^\n]*of=/dev/")),
    (Risk.MEDIUM, "reads its environment", _words("env", "printenv", "export", "set")),
    (Risk.MEDIUM, "installs packages", re.compile(r"\b(?:pip3?|uv|npm|pnpm|yarn|apt(?:-get)?|gem|cargo|go|brew)\s+(?:install|add|get|ci|i)\b")),
    (Risk.MEDIUM, "deletes", _words("rm", "rmdir", "shred", "truncate")),
    (Risk.MEDIUM, "changes rights", _words("chmod", "chown", "ln", "mkfifo", "mknod")),
)  # fmt: skip


def assess(name: str, arguments: Mapping[str, Any], *, inside: Sequence[str] = ()) -> Assessment:
    """``inside``: folders that are the agent's own, with absolute paths; what a file tool does elsewhere is riskier."""
    if name in TOOLS["Bash"]:
        return _command(str(arguments.get("command", "")))
    if name in _READING | _WRITING:
        return _file(name, arguments, inside)
    if name in _ARRANGING:
        return Assessment(Risk.LOW, ("arranges its own work",))
    server = mcp_server(name)
    if server == OWN_SERVER:
        return Assessment(Risk.LOW, ("talks to the platform",))
    if server is not None:
        return Assessment(Risk.HIGH, (f"text goes to {server}",))
    return Assessment(Risk.MEDIUM, ("starts work of its own",))


def _command(command: str) -> Assessment:
    text = command[:_MOST_TEXT]
    found = [(risk, reason) for risk, reason, pattern in _COMMAND_RULES if pattern.search(text)]
    if len(command) > _MOST_TEXT:
        found.append((Risk.HIGH, "is too long to be judged"))
    found.sort(key=lambda each: -each[0].rank)
    reasons = tuple(dict.fromkeys(reason for _, reason in found))
    return Assessment(found[0][0] if found else Risk.MEDIUM, reasons or ("runs a command",))


def _file(name: str, arguments: Mapping[str, Any], inside: Sequence[str]) -> Assessment:
    writes = name in _WRITING
    path = next((value for key in _PATH_ARGUMENTS if isinstance(value := arguments.get(key), str)), "")
    own = next((path.removeprefix(f"{folder}/") for folder in inside if path.startswith(f"{folder}/")), None)
    relative = path if not path.startswith(("/", "~")) else own
    if ".." in path.split("/") or relative is None:
        return Assessment(Risk.HIGH, ("writes outside of its folders" if writes else "reads outside of its folders",))
    if writes and (is_protected(relative) or relative.startswith(".git/")):
        return Assessment(Risk.HIGH, ("changes a protected file",))
    return Assessment(Risk.MEDIUM, ("changes a file",)) if writes else Assessment(Risk.LOW, ("reads a file",))
