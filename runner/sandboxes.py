"""Which sandbox agents get on this machine: the strongest that stands the self-test, or none, as the settings want it."""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from infra.core.errors import Unavailable
from runner.box_layout import check_toolchain
from runner.bubblewrap import BubblewrapSandbox
from runner.sandbox import PlainSandbox, Sandbox
from runner.self_test import Probe, self_test

Setting = Literal["require", "prefer", "off"]

_log = logging.getLogger("runner")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """``note`` says why the walls are not those of the strongest driver; empty when they are."""

    sandbox: Sandbox
    note: str


async def choose_sandbox(
    setting: Setting, directory: Path, *, toolchains: str = "", bwrap: Path | None = None
) -> Choice:
    """``directory`` holds the launchers. ``toolchains``: folders that every box can read, separated as in PATH.
    ``bwrap``: the program to use instead of the one on the PATH.

    Raises ``Unavailable`` when walls are required and one of them is missing, ``Invalid`` for a toolchain that is none.
    """
    folders = tuple(check_toolchain(Path(each)) for each in toolchains.split(os.pathsep) if each)
    if setting == "off":
        note = "The sandbox is off (RUNNER_SANDBOX=off)."
        _log.warning("%s Agents can read this machine's files and reach its network.", note)
        return Choice(sandbox=PlainSandbox(directory), note=note)
    try:
        sandbox: Sandbox = BubblewrapSandbox(directory, program=bwrap, toolchains=folders)
        failed = [probe for probe in await self_test(sandbox) if not probe.held]
        if not failed:
            return Choice(sandbox=sandbox, note="")
        reason, hint = _told(failed), _remedy()
    except Unavailable as missing:
        reason, hint = missing.message, missing.hint
    if setting == "require":
        raise Unavailable(
            f"No agent is started on this machine, because its sandbox does not hold. {reason}",
            code="sandbox_unavailable",
            hint=f"{hint} Only where agents may reach everything: RUNNER_SANDBOX=prefer.",
        )
    note = f"{reason} {hint}"
    _log.warning("Agents run without a sandbox and can read files and reach the network. %s", note)
    return Choice(sandbox=PlainSandbox(directory), note=note)


def _told(failed: list[Probe]) -> str:
    found = "; ".join(f"{probe.name}: {probe.evidence}" for probe in failed)
    return f"The self-test of bubblewrap found something ({found})."


def _remedy() -> str:
    """What usually is the matter where bubblewrap is installed and boxes do not start."""
    restricted = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
    if restricted.exists() and restricted.read_text().strip() == "1":
        return "AppArmor keeps users from making user namespaces: sysctl kernel.apparmor_restrict_unprivileged_userns=0, or a profile for bwrap."
    if shutil.which("unshare") and Path("/.dockerenv").exists():
        return "In a Docker container, allow user namespaces: docker run --security-opt seccomp=unconfined --security-opt systempaths=unconfined."
    return "The machine must let this user make user namespaces (sysctl user.max_user_namespaces)."
