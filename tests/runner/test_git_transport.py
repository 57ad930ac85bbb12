"""git as the supervisor runs it: nothing inherited, nothing leaked, everything bounded."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.core.errors import Forbidden, Invalid, NotFound, PullwrightError, RateLimited, Unauthenticated, Unavailable
from runner.git import Git, GitFailed, GitTimedOut, Remote, check_git, parse_remote
from runner.process import run_process
from runner.refusals import MovedOn, Unreachable, refusal

TOKEN = "ghs_secret-token.with_dots"


def a_program(folder: Path, script: str) -> str:
    program = folder / "git"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


async def test_the_git_of_this_machine_is_accepted():
    git = await check_git()
    assert Path(git.executable).is_absolute()


@pytest.mark.parametrize("version", ["git version 2.38.9", "git version 1.9", "something else"])
async def test_an_old_git_is_refused_with_the_version_that_is_needed(tmp_path, version):
    with pytest.raises(Unavailable) as caught:
        await check_git(a_program(tmp_path, f"echo {version}"))
    assert caught.value.code == "git_too_old"
    assert "2.39" in caught.value.hint


async def test_a_missing_git_is_named():
    with pytest.raises(Unavailable) as caught:
        await check_git("no-such-git")
    assert caught.value.code == "git_missing"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://github.com/o/r.git",
        "https://user:pass@github.com/o/r.git",
        "https://x@github.com/o/r",
        "ssh://git@github.com/o/r.git",
        "git@github.com:o/r.git",
        "file:///etc",
        "ext::sh -c id",
        "--upload-pack=touch /tmp/x",
        "https://github.com/o/r.git?x=1",
        "https://github.com/o/r.git#x",
        "https://github.com/o r.git",
        "https://github.com/o\nr.git",
        "https://127.0.0.1.evil.example@/",
        "http://127.0.0.1.evil.example/o/r.git",
        "https://[::1/o/r.git",
        "https:///o/r.git",
    ],
)
def test_a_token_is_sent_to_no_such_url(url):
    with pytest.raises(Invalid) as caught:
        parse_remote(url, TOKEN)
    assert caught.value.code == "invalid_remote"


@pytest.mark.parametrize("url", ["https://github.com/o/r.git", "http://127.0.0.1:8080/o/r.git", "http://[::1]:1/r"])
def test_plain_urls_are_accepted_and_the_token_is_not_shown(url):
    remote = parse_remote(url, TOKEN)
    assert remote.url == url
    assert TOKEN not in repr(remote)


async def test_nothing_is_inherited_from_the_environment(tmp_path, monkeypatch):
    for name in (
        "GIT_DIR",
        "GIT_CONFIG_PARAMETERS",
        "GIT_SSH_COMMAND",
        "GIT_TRACE_CURL",
        "ANTHROPIC_API_KEY",
        "LD_PRELOAD",
    ):
        monkeypatch.setenv(name, "'core.pager=touch x'")
    monkeypatch.setenv("GIT_EXEC_PATH", str(tmp_path))
    git = Git(executable=a_program(tmp_path, "env"), network={"HTTPS_PROXY": "http://proxy:1"})
    seen = dict(line.split("=", 1) for line in (await git.local("status", directory=tmp_path)).decode().splitlines())
    ours = {name for name in seen if not name.startswith(("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"))}
    assert ours - {"PWD", "_", "SHLVL", "OLDPWD"} == {
        "PATH", "HOME", "LC_ALL", "TZ", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_GLOBAL", "GIT_ATTR_NOSYSTEM",
        "GIT_TERMINAL_PROMPT", "GIT_NO_REPLACE_OBJECTS", "GIT_LFS_SKIP_SMUDGE", "GIT_LITERAL_PATHSPECS", "GIT_CONFIG_COUNT",
    }  # fmt: skip
    assert seen["HOME"] == "/dev/null"
    transported = (
        await git.transport("fetch", directory=tmp_path, remote=parse_remote("https://h/r", TOKEN), seconds=5)
    ).decode()
    assert "HTTPS_PROXY=http://proxy:1" in transported


async def test_the_token_is_in_one_environment_and_no_argument(tmp_path):
    git = Git(executable=a_program(tmp_path, 'echo "ARGS $0 $@"; env'))
    told = (
        await git.transport("push", "x", directory=tmp_path, remote=parse_remote("https://h/r.git", TOKEN), seconds=5)
    ).decode()
    arguments = told.splitlines()[0]
    encoded = base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()
    assert arguments.startswith("ARGS")
    assert TOKEN not in told
    assert encoded not in arguments
    assert told.count(encoded) == 1


async def test_a_token_that_a_remote_repeats_is_masked(tmp_path):
    git = Git(executable=a_program(tmp_path, f"echo 'remote: {TOKEN}' >&2; exit 1"))
    with pytest.raises(Unreachable) as caught:
        await git.transport("push", directory=tmp_path, remote=parse_remote("https://h/r.git", TOKEN), seconds=5)
    assert TOKEN not in str(caught.value)


async def test_words_of_a_remote_reach_people_without_control_characters(tmp_path):
    git = Git(executable=a_program(tmp_path, r"printf 'fatal: \033]0;title\007no\000pe \302\233 \377\n' >&2; exit 1"))
    with pytest.raises(GitFailed) as caught:
        await git.local("status", directory=tmp_path)
    assert "fatal: ]0;title no pe" in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "url", ["ext::sh -c touch% {canary}", "file://{repo}", "{repo}", "ssh://127.0.0.1:1/x", "git://127.0.0.1:1/x"]
)
async def test_other_protocols_are_not_spoken_even_if_asked_for(tmp_path, url):
    git = await check_git()
    canary = tmp_path / "canary"
    remote = Remote(url=url.format(canary=canary, repo=tmp_path), scheme="https", token=TOKEN)
    (tmp_path / "r" / "objects").mkdir(parents=True)
    (tmp_path / "r" / "refs").mkdir()
    (tmp_path / "r" / "HEAD").write_text("ref: refs/heads/none\n")
    with pytest.raises(PullwrightError) as caught:
        await git.transport(
            "fetch", "--end-of-options", remote.url, directory=tmp_path / "r", remote=remote, seconds=10
        )
    assert "not allowed" in str(caught.value)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("words", "error", "code"),
    [
        (
            "!\tabc:refs/heads/x\t[remote rejected] (refusing to allow a GitHub App to create or update workflow `.github/workflows/ci.yml` without `workflows` permission)",
            Forbidden,
            "workflow_permission",
        ),
        ("remote: error: GH006: Protected branch update failed for refs/heads/main.", Forbidden, "branch_protected"),
        ("remote: error: GH013: Repository rule violations found for refs/heads/claude/x.", Forbidden, "push_rules"),
        ("fatal: could not read Username for 'https://github.com': terminal prompts disabled", Unauthenticated, "git_unauthenticated"),
        ("fatal: Authentication failed for 'https://github.com/o/r.git/'", Unauthenticated, "git_unauthenticated"),
        ("remote: Write access to repository not granted.\nfatal: unable to access: The requested URL returned error: 403", Forbidden, "git_forbidden"),
        ("remote: Repository not found.\nfatal: repository 'https://github.com/o/r.git/' not found", NotFound, "repository_not_found"),
        ("fatal: remote error: upload-pack: not our ref 1234", NotFound, "commit_not_found"),
        ("error: Server does not allow request for unadvertised object 1234", NotFound, "commit_not_found"),
        ("fatal: couldn't find remote ref refs/heads/x", NotFound, "ref_not_found"),
        ("!\ta:b\t[rejected] (stale info)", MovedOn, "branch_moved"),
        ("!\ta:b\t[remote rejected] (cannot lock ref 'refs/heads/x': is at 1 but expected 2)", MovedOn, "branch_moved"),
        ("fatal: The requested URL returned error: 429", RateLimited, "rate_limited"),
        ("error: object 12: gitmodulesUrl: disallowed submodule url\nfatal: fsck error in packed object", Invalid, "repository_malformed"),
        ("fatal: write error: No space left on device", Unavailable, "disk_full"),
        ("fatal: unable to access 'https://h/': Could not resolve host: h", Unreachable, "git_unreachable"),
        ("fatal: unable to access 'https://h/': The requested URL returned error: 503", Unreachable, "git_unreachable"),
        ("fatal: the remote end hung up unexpectedly", Unreachable, "git_unreachable"),
        ("", Unreachable, "git_unreachable"),
    ],
)  # fmt: skip
def test_a_refusal_keeps_the_remotes_words(words, error, code):
    refused = refusal("push", words)
    assert isinstance(refused, error)
    assert refused.code == code
    assert refused.hint
    assert words.split("\n")[-1] in refused.message


async def test_a_deadline_ends_the_whole_group(tmp_path):
    git = Git(executable=a_program(tmp_path, f"sleep 60 & echo $! > {tmp_path}/child; wait"))
    with pytest.raises(GitTimedOut):
        await git.local("gc", directory=tmp_path, seconds=0.5)
    await _gone(int((tmp_path / "child").read_text()))


async def test_cancelling_ends_the_whole_group(tmp_path):
    git = Git(executable=a_program(tmp_path, f"sleep 60 & echo $! > {tmp_path}/child; wait"))
    said = tmp_path / "child"
    running = asyncio.create_task(git.local("gc", directory=tmp_path))
    await _until(lambda: said.exists() and said.read_text().endswith("\n"))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await _gone(int((tmp_path / "child").read_text()))


async def _gone(pid: int) -> None:
    await _until(lambda: _ended(pid))


def _ended(pid: int) -> bool:
    """An orphan stays a zombie until init reaps it; killed is what counts."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def _until(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.01)
    pytest.fail("It did not come true within ten seconds.")


async def test_a_sink_that_refuses_stops_a_program_with_much_more_to_say(tmp_path):
    class Enough(Exception):
        pass

    def sink(_piece: bytes) -> None:
        raise Enough

    with pytest.raises(Enough):
        await run_process(["/bin/sh", "-c", "yes"], env={}, cwd=tmp_path, seconds=30, sink=sink)


async def test_large_input_and_output_do_not_block_each_other(tmp_path):
    data = os.urandom(3_000_000)
    done = await run_process([sys.executable, "-c", "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"],
        env={}, cwd=tmp_path, seconds=30, stdin=data)  # fmt: skip
    assert done.stdout == data


async def test_a_program_that_reads_nothing_is_no_failure_of_ours(tmp_path):
    done = await run_process(["/bin/sh", "-c", "exit 3"], env={}, cwd=tmp_path, seconds=30, stdin=b"x" * 3_000_000)
    assert done.code == 3
