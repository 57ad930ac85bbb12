"""Allowed commands beside a working agent, in real boxes over a tree whose repository is hostile."""

import asyncio
import os
import subprocess
from contextlib import asynccontextmanager

import pytest

from infra.core.commands import AllowedCommand, parse_extra
from infra.core.redaction import Redactor
from infra.core.timeline import EventType
from infra.wire import CommandState
from runner import processes
from runner.bubblewrap import BubblewrapSandbox
from runner.commands import LATEST_DIFF, Bench, CommandLimits, Commands
from runner.git import check_git
from runner.sandbox import PlainSandbox
from tests.runner.boxes import box_in, needs_boxes, start_in
from tests.runner.waiting import until

SECRET = "a-registered-secret-2718"
GIT = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}

HOSTILE = """
[core]
    pager = touch {spot}/pager; cat
    fsmonitor = {spot}/fsmonitor.sh
    hooksPath = {spot}/hooks
[diff]
    external = touch {spot}/external
[diff "evil"]
    textconv = touch {spot}/textconv; cat
    command = touch {spot}/command
[filter "evil"]
    clean = touch {spot}/clean; cat
    process = touch {spot}/process
[alias]
    status = !touch {spot}/alias
"""


class Desk:
    def __init__(self, place, sandbox, box, git):
        self.place, self.sandbox, self.box, self.git = place, sandbox, box, git
        self.events, self.artifacts = [], {}

    async def sink(self, kind, data):
        self.events.append((kind, dict(data)))

    async def keep(self, name, content):
        self.artifacts[name] = content

    def commands(self, extra=(), agent="claude-code", **limits):
        bench = Bench(
            beside=self.box.id,
            tree=self.box.tree,
            root=self.place,
            agent=agent,
            path=os.environ["PATH"],
            environment=self.git.box_environment,
        )
        return Commands(
            bench=bench,
            sandbox=self.sandbox,
            sink=self.sink,
            redactor=Redactor([SECRET]),
            keep=self.keep,
            extra=extra,
            limits=CommandLimits(**limits),
        )

    async def run(self, text, identity="cmd-1", **more):
        return await self.commands(**more).run(identity, text.split(" "), "ada")

    def said(self, kind=EventType.STDOUT):
        return "".join(data["text"] for each, data in self.events if each is kind)


def repository(tree):
    def git(*arguments):
        subprocess.run(
            ["git", "-C", tree, "-c", "user.name=A", "-c", "user.email=a@b", *arguments], check=True, env=GIT
        )

    git("init", "-q", "-b", "main")
    (tree / "page.txt").write_text("one\ntwo\n")
    (tree / ".gitattributes").write_text("*.txt diff=evil filter=evil\n")
    git("add", ".")
    git("commit", "-q", "-m", "First")
    (tree / "page.txt").write_text("one\nthree\n")


def arm(tree):
    spot = tree / "spot"
    (spot / "hooks").mkdir(parents=True)
    (spot / "fsmonitor.sh").write_text(f"#!/bin/sh\ntouch {spot}/fsmonitor\n")
    (spot / "fsmonitor.sh").chmod(0o755)
    with (tree / ".git" / "config").open("a") as config:
        config.write(HOSTILE.format(spot=spot))
    (tree / ".git" / "info").mkdir(exist_ok=True)
    (tree / ".git" / "info" / "attributes").write_text("*.txt diff=evil filter=evil\n")
    return spot


@asynccontextmanager
async def desk_in(place, sandbox):
    """An agent at work (it only waits) and the desk beside it."""
    place.chmod(0o711)
    box = box_in(place)
    repository(box.tree)
    agent = await start_in(sandbox, box, "-c", "touch ready; sleep 600")
    try:
        await until((box.tree / "ready").exists)
        yield Desk(place, sandbox, box, await check_git())
        assert agent.returncode is None, "the commands ended the agent"
    finally:
        await sandbox.destroy(box)
        await agent.communicate()
        assert not processes.members(f"{box.id}")


@pytest.fixture(params=["bubblewrap", "none"])
async def desk(request, tmp_path):
    if request.param == "bubblewrap":
        if reason := needs_boxes.kwargs["reason"] if needs_boxes.args[0] else "":
            pytest.skip(reason)
        sandbox = BubblewrapSandbox(tmp_path / "launchers")
    else:
        sandbox = PlainSandbox(tmp_path / "launchers")
    place = tmp_path / "place"
    place.mkdir()
    async with desk_in(place, sandbox) as desk:
        yield desk


async def test_git_diff_is_shown_as_it_comes_and_kept(desk):
    result = await desk.run("git diff")
    assert (result.state, result.exit_code, result.artifact) == (CommandState.DONE, 0, LATEST_DIFF)
    assert "-two\n+three\n" in desk.said()
    assert desk.artifacts[LATEST_DIFF].decode() == desk.said()
    kind, marker = desk.events[-1]
    assert kind is EventType.MARKER
    assert marker["command"] == "git diff"
    assert marker["exitCode"] == 0


async def test_nothing_that_a_repository_configures_is_executed(desk):
    spot = arm(desk.box.tree)
    for text in ("git diff", "git diff --cached", "git status", "git log --oneline -10"):
        result = await desk.run(text)
        assert (result.state, result.exit_code) == (CommandState.DONE, 0), result
    assert sorted(path.name for path in spot.iterdir()) == ["fsmonitor.sh", "hooks"]
    assert "-two\n+three\n" in desk.said()
    assert "First" in desk.said()


async def test_a_command_that_is_not_on_the_list_is_refused_and_nothing_is_started(desk):
    for text in ("git status; id", "git  status", "git status --ext-diff", "touch here"):
        result = await desk.run(text)
        assert result.state is CommandState.REFUSED
        assert "not an allowed command" in result.text
    assert desk.events == []


async def test_each_agent_type_has_its_own_list(desk):
    assert (await desk.run("pytest", agent="lines")).state is CommandState.REFUSED


async def test_a_command_that_fails_says_how(desk):
    (desk.box.tree / "wrong.sh").write_text("#!/bin/sh\necho no good >&2\nexit 7\n")
    (desk.box.tree / "wrong.sh").chmod(0o755)
    result = await desk.run("./wrong.sh", extra=parse_extra("./wrong.sh"))
    assert (result.state, result.exit_code) == (CommandState.DONE, 7)
    assert desk.said(EventType.STDERR) == "no good\n"
    missing = await desk.run("./nowhere.sh", extra=parse_extra("./nowhere.sh"))
    assert missing.exit_code == 127
    assert "No such file" in missing.text


async def test_what_runs_too_long_is_stopped_with_all_its_children(desk):
    (desk.box.tree / "slow.sh").write_text("#!/bin/sh\nsetsid sleep 3141 & sleep 3141\n")
    (desk.box.tree / "slow.sh").chmod(0o755)
    result = await desk.run("./slow.sh", extra=parse_extra("./slow.sh"), seconds=1.0)
    assert result.state is CommandState.FAILED
    assert "longer than 1 seconds" in result.text
    assert not [pid for pid in processes.living() if b"sleep\x003141" in processes._bytes(pid, "cmdline")]


async def test_output_is_redacted_whole_cleaned_and_bounded(desk):
    half = len(SECRET) // 2
    script = f"#!/bin/sh\nprintf %s '{SECRET[:half]}'; sleep 0.2; echo '{SECRET[half:]}'; printf '\\033]0;title\\007'\nyes long | head -c 5000\n"
    (desk.box.tree / "loud.sh").write_text(script)
    (desk.box.tree / "loud.sh").chmod(0o755)
    result = await desk.run("./loud.sh", extra=parse_extra("./loud.sh"), characters=1000)
    assert SECRET not in desk.said()
    assert "[REDACTED]" in desk.said()
    assert "\x1b" not in desk.said()
    assert len(desk.said()) < 1100
    assert "more characters]" in desk.said()
    assert result.exit_code == 0


async def test_beside_an_agent_a_command_is_its_user_and_sees_no_network(desk):
    script = (
        "#!/bin/sh\nid -u\nstat -c %u .\nread HTTP < /dev/null\n"
        'python3 -c \'import os; print(sorted(os.listdir("/sys/class/net")) if os.path.exists("/sys/class/net") else [])\'\n'
        "touch made-by-command\n"
    )
    (desk.box.tree / "look.sh").write_text(script)
    (desk.box.tree / "look.sh").chmod(0o755)
    result = await desk.run("./look.sh", extra=(AllowedCommand(argv=("./look.sh",), description=""),))
    assert result.exit_code == 0, result
    user, owner = desk.said().splitlines()[:2]
    assert user == owner
    assert (desk.box.tree / "made-by-command").stat().st_uid == desk.box.tree.stat().st_uid
    if desk.sandbox.name == "bubblewrap":
        assert desk.said().splitlines()[2] == "[]"


async def test_without_an_agent_at_work_nothing_runs(tmp_path):
    sandbox = PlainSandbox(tmp_path / "launchers")
    desk = Desk(tmp_path, sandbox, box_in(tmp_path), await check_git())
    result = await desk.run("pwd")
    assert result.state is CommandState.FAILED
    assert "no box" in result.text


async def test_two_commands_at_once_take_turns(desk):
    commands = desk.commands()
    results = await asyncio.gather(
        commands.run("cmd-1", ["pwd"], "ada"), commands.run("cmd-2", ["git", "status"], "bob")
    )
    assert [result.exit_code for result in results] == [0, 0]
    assert [data["id"] for kind, data in desk.events if kind is EventType.MARKER] == ["cmd-1", "cmd-2"]
