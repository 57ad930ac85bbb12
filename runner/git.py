"""git as the supervisor runs it: exact argument lists, an environment and a configuration that are wholly our own.

Nothing is inherited: no ``GIT_*`` variable, no secret, no home, no system, user or repository configuration that
somebody else wrote. A remote's token travels in one process's environment only, never in an argument, a file or a URL.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from infra.core.errors import Invalid, PullwrightError, Unavailable
from runner.process import Finished, OutOfTime, run_process
from runner.refusals import refusal

MINIMUM_VERSION = (2, 39)
"""The oldest git that is accepted: 2.39 has the fixes for hostile repositories back-ported and reads no links as
``.gitignore`` or ``.gitattributes`` (since 2.32). https://git-scm.com/docs/git#_security"""

LOCAL_SECONDS = 120.0

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]+")
_WORDS_KEPT = 2000

# Command-scope configuration outranks every file. https://git-scm.com/docs/git-config#_environment
_CONFIG: Mapping[str, str] = {
    # nothing is executed
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.sshCommand": "false",
    "core.askPass": "",
    "core.editor": "false",
    "core.pager": "cat",
    "credential.helper": "",
    "diff.external": "",
    # nothing outside is consulted
    "core.attributesFile": "/dev/null",
    "core.excludesFile": "/dev/null",
    "protocol.allow": "never",
    "submodule.recurse": "false",
    "fetch.recurseSubmodules": "false",
    "push.recurseSubmodules": "no",
    "diff.ignoreSubmodules": "all",
    # what comes in is checked; the one relaxation is for old but harmless trees that GitHub still serves
    "transfer.fsckObjects": "true",
    "fetch.fsckObjects": "true",
    "fetch.fsck.zeroPaddedFilemode": "ignore",
    "core.protectHFS": "true",
    "core.protectNTFS": "true",
    "core.symlinks": "true",
    "core.fileMode": "true",
    "core.autocrlf": "false",
    "http.followRedirects": "false",
    "http.sslVerify": "true",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "30",
    # a private directory that is thrown away needs neither durability nor housekeeping
    "core.fsync": "none",
    "core.looseCompression": "1",
    "core.bigFileThreshold": "16m",
    "fetch.unpackLimit": "1",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "push.gpgSign": "false",
    "push.followTags": "false",
}

_ENVIRONMENT: Mapping[str, str] = {
    "PATH": os.defpath,
    "HOME": "/dev/null",  # nothing can ever lie there: no .netrc, no .gitconfig
    "LC_ALL": "C",
    "TZ": "UTC",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_LITERAL_PATHSPECS": "1",
}


class GitFailed(PullwrightError):
    """A git command of ours ended with an error; ``words`` are git's own, cleaned."""

    default_code = "git_failed"

    def __init__(self, message: str, *, words: str, code: str = "", hint: str = "") -> None:
        super().__init__(message, code=code, hint=hint)
        self.words = words


class GitTimedOut(Unavailable):
    default_code = "git_timed_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A repository's URL and the token that opens it. Make one with ``parse_remote``."""

    url: str
    scheme: str
    token: str = field(repr=False)


def parse_remote(url: str, token: str) -> Remote:
    """Raises ``Invalid`` unless ``url`` is plain https (http only to this very machine) without user, query or fragment."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        host, parts = "", urlsplit("")
    safe = parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)
    plain = url.isascii() and url.isprintable() and " " not in url and not (parts.query or parts.fragment)
    if not (safe and plain and host and "@" not in parts.netloc):
        raise Invalid(
            "The repository's clone URL is not one that a token may be sent to.",
            code="invalid_remote",
            hint="Use https://HOST/OWNER/REPO.git, without a user name, query or fragment.",
        )
    return Remote(url=url, scheme=parts.scheme, token=token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Git:
    """A checked git program. Make one with ``check_git``.

    ``network``: the only variables that are added from outside, for a proxy or a certificate store
    (``HTTPS_PROXY``, ``GIT_SSL_CAINFO`` …).
    """

    executable: str
    network: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Every variable of a command that talks to nobody."""
        return {**_ENVIRONMENT, **_as_environment(_CONFIG)}

    @property
    def box_environment(self) -> dict[str, str]:
        """The same for a command as a person would type it: without the empty ``diff.external``, which only commands that say
        ``--no-ext-diff`` survive. There must be no other configuration that could name one."""
        config = {name: value for name, value in _CONFIG.items() if name != "diff.external"}
        return {**_ENVIRONMENT, **_as_environment(config)}

    async def local(
        self,
        *arguments: str,
        directory: Path,
        tree: Path | None = None,
        stdin: bytes = b"",
        env: Mapping[str, str] = MappingProxyType({}),
        seconds: float = LOCAL_SECONDS,
        sink: Callable[[bytes], None] | None = None,
        watch: Callable[[], None] | None = None,
    ) -> bytes:
        """Runs a command on the repository ``directory`` (and the files of ``tree``) that talks to nobody; returns its output.

        Raises ``GitFailed``, ``GitTimedOut``, and whatever ``sink`` or ``watch`` raise (``runner/process.py``).
        """
        argv = [self.executable, f"--git-dir={directory}"]
        argv += [f"--work-tree={tree}"] if tree else []
        finished = await self._run(
            arguments[0],
            [*argv, *arguments],
            env={**self.environment, **env},
            cwd=directory,
            stdin=stdin,
            seconds=seconds,
            sink=sink,
            watch=watch,
        )
        if finished.code:
            raise _failed(arguments[0], finished)
        return finished.stdout

    async def transport(
        self,
        *arguments: str,
        directory: Path,
        remote: Remote,
        seconds: float,
        watch: Callable[[], None] | None = None,
    ) -> bytes:
        """Runs fetch or push against ``remote`` and no other protocol than its own; returns the output.

        Raises the core error that the remote's answer means (``runner/refusals.py``), carrying its words; ``GitTimedOut``.
        """
        credentials = base64.b64encode(f"x-access-token:{remote.token}".encode()).decode()
        config = {
            **_CONFIG,
            f"protocol.{remote.scheme}.allow": "always",
            f"http.{remote.url}.extraHeader": f"Authorization: Basic {credentials}",
        }
        finished = await self._run(
            arguments[0],
            [self.executable, f"--git-dir={directory}", *arguments],
            env={**_ENVIRONMENT, **self.network, **_as_environment(config)},
            cwd=directory,
            seconds=seconds,
            watch=watch,
        )
        if finished.code:
            words = _clean(finished.stdout + b"\n" + finished.stderr)
            for secret in (remote.token, credentials):
                words = words.replace(secret, "***") if secret else words
            raise refusal(arguments[0], words)
        return finished.stdout

    async def _run(
        self,
        command: str,
        argv: list[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        seconds: float,
        stdin: bytes = b"",
        sink: Callable[[bytes], None] | None = None,
        watch: Callable[[], None] | None = None,
    ) -> Finished:
        try:
            return await run_process(argv, env=env, cwd=cwd, stdin=stdin, seconds=seconds, sink=sink, watch=watch)
        except OutOfTime as error:
            raise GitTimedOut(
                f"git {command} did not finish within {seconds:.0f} seconds and was stopped.",
                hint="The repository or the change is very large, or the connection very slow.",
            ) from error


async def check_git(executable: str = "", *, network: Mapping[str, str] | None = None) -> Git:
    """The git of this machine. Raises ``Unavailable`` when there is none (``git_missing``) or it is too old (``git_too_old``)."""
    wanted = ".".join(map(str, MINIMUM_VERSION))
    found = shutil.which(executable or "git")
    if found is None:
        raise Unavailable("git is not installed.", code="git_missing", hint=f"Install git {wanted} or newer.")
    finished = await run_process([found, "version"], env=_ENVIRONMENT, cwd=Path("/"), seconds=10)
    said = re.search(rb"git version (\d+)\.(\d+)", finished.stdout)
    if said is None or (int(said[1]), int(said[2])) < MINIMUM_VERSION:
        raise Unavailable(
            f"{_clean(finished.stdout) or 'This git'} is too old to be given strangers' repositories.",
            code="git_too_old",
            hint=f"Install git {wanted} or newer.",
        )
    return Git(executable=found, network=dict(network or {}))


def _as_environment(config: Mapping[str, str]) -> dict[str, str]:
    environment = {"GIT_CONFIG_COUNT": str(len(config))}
    for number, (key, value) in enumerate(config.items()):
        environment[f"GIT_CONFIG_KEY_{number}"] = key
        environment[f"GIT_CONFIG_VALUE_{number}"] = value
    return environment


def _failed(command: str, finished: Finished) -> PullwrightError:
    words = _clean(finished.stderr)
    if "no space left" in words.lower():
        return Unavailable("The runner's disk is full.", code="disk_full", hint="Give the runner more disk or memory.")
    return GitFailed(f"git {command} failed: {words or f'exit code {finished.code}'}", words=words)


def _clean(said: bytes) -> str:
    """Words of a program we do not control, fit to be shown: text only, one blank for each run of control characters."""
    lines = (" ".join(_CONTROL.sub(" ", line).split()) for line in said.decode("utf-8", "replace").splitlines())
    return "\n".join(line for line in lines if line)[-_WORDS_KEPT:]
