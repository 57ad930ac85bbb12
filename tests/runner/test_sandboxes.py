"""Which sandbox is chosen, and that the self-test notices a wall that does not stand."""

import logging
import os
import stat
import tempfile
import time
from pathlib import Path

import pytest

from infra.core.errors import Invalid, Unavailable
from runner.bubblewrap import BubblewrapSandbox
from runner.sandbox import PlainSandbox
from runner.sandboxes import choose_sandbox
from runner.self_test import self_test
from tests.runner.boxes import needs_boxes


def bwrap_that(place: Path, change: str) -> Path:
    """A bubblewrap whose arguments are tampered with by ``change``, a line of Python on the list ``words``."""
    path = place / "bwrap"
    path.write_text(
        "#!/usr/bin/env python3\n"
        "import os, sys\n"
        "number = int(sys.argv[2])\n"
        "words = os.fdopen(number, 'rb').read().decode().split('\\0')[:-1]\n"
        f"{change}\n"
        "read, write = os.pipe()\n"
        "os.write(write, b''.join(word.encode() + b'\\0' for word in words))\n"
        "os.close(write)\n"
        "os.dup2(read, number)\n"
        "os.execv('/usr/bin/bwrap', sys.argv)\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


WEAKER = {
    "network": ("words.remove('--unshare-net')", {"the machine's loopback", "an abstract socket"}),
    "processes": ("words.remove('--unshare-pid')", {"another process's arguments"}),
    "files": (
        "at = words.index('/tmp'); words[at - 5 : at + 1] = ['--bind', '/tmp', '/tmp']",
        {"a public file", "a folder"},
    ),
    "environment": ("words.remove('--clearenv')", set()),  # the forwarder clears it, too
}


@needs_boxes
async def test_the_self_test_of_a_good_box_finds_nothing_and_is_quick(tmp_path, record_property):
    sandbox = BubblewrapSandbox(tmp_path / "launchers")
    times = []
    for _ in range(3):
        began = time.perf_counter()
        probes = await self_test(sandbox)
        times.append(time.perf_counter() - began)
        assert len(probes) >= 20
        assert [probe for probe in probes if not probe.held] == []
    record_property("milliseconds", round(min(times) * 1000))
    assert min(times) < 3  # for machines that are busy
    assert list((tmp_path / "launchers").iterdir()) == []


@needs_boxes
@pytest.mark.skipif(os.geteuid() != 0, reason="a tampered box shows most where the runner is root")
@pytest.mark.parametrize("wall", WEAKER)
async def test_the_self_test_notices_a_wall_that_does_not_stand(tmp_path, wall):
    change, expected = WEAKER[wall]
    if wall == "files" and tempfile.gettempdir() != "/tmp":
        pytest.skip("the temporary folder is elsewhere")
    probes = await self_test(BubblewrapSandbox(tmp_path / "launchers", program=bwrap_that(tmp_path, change)))
    found = {probe.name for probe in probes if not probe.held}
    assert expected <= found
    assert "starting a box" not in found
    assert bool(found) == bool(expected)


async def test_the_plain_driver_fails_the_self_test(tmp_path):
    found = {
        probe.name for probe in await self_test(PlainSandbox(tmp_path / "launchers", own_user=False)) if not probe.held
    }
    assert {"the machine's loopback", "another process", "a public file", "a folder"} <= found
    assert "own environment" not in found


@needs_boxes
@pytest.mark.parametrize("setting", ["require", "prefer"])
async def test_bubblewrap_is_chosen_where_it_holds(tmp_path, setting):
    choice = await choose_sandbox(setting, tmp_path / "launchers")
    assert (choice.sandbox.name, choice.note) == ("bubblewrap", "")


async def test_off_is_off_and_said(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="runner"):
        choice = await choose_sandbox("off", tmp_path / "launchers")
    assert choice.sandbox.name == "none"
    assert "RUNNER_SANDBOX=off" in choice.note
    assert "RUNNER_SANDBOX=off" in caplog.text


@pytest.mark.parametrize("how", ["missing", "broken", "weak"])
async def test_required_walls_that_do_not_stand_refuse_the_start_and_preferred_ones_are_missed_loudly(
    tmp_path, monkeypatch, caplog, how
):
    program = None
    if how == "missing":
        monkeypatch.setenv("PATH", str(tmp_path))
    elif how == "broken":
        program = Path("/bin/false")
    else:
        program = bwrap_that(tmp_path, "words.remove('--unshare-net')")
    with pytest.raises(Unavailable) as refused:
        await choose_sandbox("require", tmp_path / "launchers", bwrap=program)
    assert refused.value.message.startswith("No agent is started on this machine")
    assert refused.value.hint
    with caplog.at_level(logging.WARNING, logger="runner"):
        choice = await choose_sandbox("prefer", tmp_path / "launchers", bwrap=program)
    assert choice.sandbox.name == "none"
    reason = {"missing": "bubblewrap is not installed", "broken": "starting a box", "weak": "another host"}[how]
    if how != "weak" or "starting a box" not in choice.note:  # where boxes do not work at all, that is the reason
        assert reason in choice.note or "loopback" in choice.note
    assert "Agents run without a sandbox" in caplog.text


@needs_boxes
async def test_toolchains_are_checked(tmp_path):
    (tmp_path / "tools").mkdir()
    choice = await choose_sandbox("require", tmp_path / "launchers", toolchains=f"{tmp_path / 'tools'}:")
    assert choice.sandbox.name == "bubblewrap"
    for wrong in (
        "relative/bin",
        str(tmp_path / "absent"),
        "/",
        "/home",
        "/root",
        "/etc",
        str(Path.home()),
        "/var",
        "/tmp",
    ):
        with pytest.raises(Invalid, match="RUNNER_TOOLCHAINS"):
            await choose_sandbox("prefer", tmp_path / "launchers", toolchains=wrong)
