"""Cloning strangers' repositories: the right commit, nothing that acts, bounded, and a copy that shares nothing."""

from __future__ import annotations

import base64
import os
import time
from pathlib import Path

import pytest

from infra.core.errors import Invalid, NotFound, PullwrightError, TooLarge, Unauthenticated, Upstream
from runner.clone import clone, fetch_base
from runner.git import GitTimedOut, parse_remote
from runner.refusals import Unreachable
from tests.world.git_http import GitHttp, Remote, git
from tests.world.git_scene import BRANCH, TOKEN, a_scene


@pytest.fixture
async def scene(tmp_path):
    async with a_scene(tmp_path) as made:
        yield made


def raw_commit(scene, entries: list[tuple[str, str, str, bytes]], name: str = "project") -> str:
    """A commit made of tree entries that no ordinary git would write; served as main."""
    bare = scene.world.bare(name)
    record = b""
    for mode, kind, sha, path in entries:
        assert kind in {"blob", "tree", "commit"}
        record += mode.encode() + b" " + path + b"\0" + bytes.fromhex(sha)
    tree = git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", cwd=bare, stdin=record)
    commit = git("commit-tree", tree, "-m", "crafted", cwd=bare)
    git("update-ref", "refs/heads/main", commit, cwd=bare)
    return commit


def blob(scene, content: bytes, name: str = "project") -> str:
    return git("hash-object", "-w", "--stdin", cwd=scene.world.bare(name), stdin=content)


def everything(folder: Path) -> list[Path]:
    return [Path(inside, name) for inside, _, files in os.walk(folder) for name in files]


async def test_the_agent_gets_files_and_a_clean_repository_of_its_own(scene):
    await scene.clone()
    tree = scene.ws.tree
    assert (tree / "src" / "app.py").read_text() == "print('hi')\n"
    assert git("status", "--porcelain", cwd=tree) == ""
    assert git("rev-parse", "HEAD", cwd=tree) == scene.base
    assert git("branch", "--show-current", cwd=tree) == BRANCH
    assert git("log", "--format=%s", cwd=tree) == "base"
    assert git("remote", cwd=tree) == ""
    (tree / "README.md").write_text("changed\n")
    assert git("diff", "--stat", cwd=tree).startswith("README.md")
    assert git("config", "user.email", cwd=tree)  # stash asks for an identity
    git("fsck", "--strict", cwd=tree)


async def test_the_agents_repository_shares_nothing_with_the_supervisors(scene):
    await scene.clone()
    own = scene.ws.tree / ".git"
    assert not (own / "objects" / "info" / "alternates").exists()
    for path in everything(own):
        assert path.lstat().st_nlink == 1
        assert not path.is_symlink()
    assert "127.0.0.1" not in (own / "config").read_text()
    assert not (own / "hooks").exists()


async def test_the_token_is_in_no_file(scene):
    await scene.clone()
    needles = [TOKEN.encode(), base64.b64encode(f"x-access-token:{TOKEN}".encode())]
    needles += [base64.b64encode(b"x" * shift + TOKEN.encode())[4:-4] for shift in range(3)]
    contents = [path.read_bytes() for path in everything(scene.ws.root)]
    assert len(contents) > 10
    assert not any(needle in content for needle in needles for content in contents)
    assert any(TOKEN in base64.b64decode(line.rsplit(" ", 1)[1]).decode() for line in scene.world.seen)


async def test_only_the_commit_that_was_asked_for_is_fetched(scene):
    source = scene.folder / "source"
    (source / "later.txt").write_text("later\n")
    scene.world.add("project", source, "later")
    await scene.clone()
    assert not (scene.ws.tree / "later.txt").exists()
    assert git("rev-list", "--all", "--count", cwd=scene.ws.git) == "1"


async def test_a_commit_that_is_nowhere(scene):
    scene.base = "1" * 40
    with pytest.raises(NotFound) as caught:
        await scene.clone()
    assert caught.value.code == "commit_not_found"


@pytest.mark.parametrize("base", ["main", "HEAD", "", "--upload-pack=id", "1" * 39, "1" * 64, "A" * 40])
async def test_a_base_is_a_full_commit_name(scene, base):
    scene.base = base
    with pytest.raises(Invalid):
        await scene.clone()
    assert not scene.world.seen


async def test_a_wrong_token_is_said(scene):
    scene.world.tokens.clear()
    with pytest.raises(Unauthenticated) as caught:
        await scene.clone()
    assert caught.value.code == "git_unauthenticated"


async def test_an_unknown_repository_is_said(scene):
    remote = parse_remote(scene.world.url("absent"), TOKEN)
    with pytest.raises(NotFound) as caught:
        await clone(scene.git, scene.ws, remote, base_sha=scene.base, branch=BRANCH, pauses=())
    assert caught.value.code == "repository_not_found"


async def test_a_redirect_is_not_followed_with_the_token(scene, tmp_path):
    elsewhere = Remote(root=tmp_path / "served")
    with GitHttp(elsewhere):
        scene.world.redirect_to = f"http://127.0.0.1:{elsewhere.port}"
        with pytest.raises(Upstream) as caught:
            await scene.clone()
    assert caught.value.code == "repository_moved"
    assert elsewhere.seen == []


async def test_passing_trouble_is_tried_again(scene):
    scene.world.statuses = [502, 503]
    await clone(scene.git, scene.ws, scene.remote, base_sha=scene.base, branch=BRANCH, pauses=(0, 0))
    assert (scene.ws.tree / "README.md").exists()


async def test_lasting_trouble_is_said(scene):
    scene.world.statuses = [502] * 9
    with pytest.raises(Unreachable) as caught:
        await clone(scene.git, scene.ws, scene.remote, base_sha=scene.base, branch=BRANCH, pauses=(0,))
    assert "502" in caught.value.message
    assert len(scene.world.statuses) == 7


async def test_a_pack_over_the_limit(scene):
    commit = raw_commit(scene, [("100644", "blob", blob(scene, os.urandom(3_000_000)), b"big")])
    scene.base = commit
    with pytest.raises(TooLarge) as caught:
        await scene.clone(pack_bytes=1_000_000)
    assert caught.value.code == "repo_too_large"


async def test_a_small_pack_with_a_huge_file(scene):
    scene.base = raw_commit(scene, [("100644", "blob", blob(scene, bytes(50_000_000)), b"zeros")])
    with pytest.raises(TooLarge) as caught:
        await scene.clone(tree_bytes=10_000_000)
    assert "10,000,000 bytes" in caught.value.message
    assert not any(scene.ws.tree.iterdir())


@pytest.mark.parametrize("leaf", ["blob", "nothing"])
async def test_a_tree_bomb_is_not_walked_to_its_end(scene, leaf):
    bare = scene.world.bare("project")
    entries = b"100644 f\0" + bytes.fromhex(blob(scene, b"x")) if leaf == "blob" else b""
    tree = git("hash-object", "-t", "tree", "-w", "--stdin", cwd=bare, stdin=entries)
    for _ in range(10):
        record = b"".join(b"40000 d%d\0" % number + bytes.fromhex(tree) for number in range(10))
        tree = git("hash-object", "-t", "tree", "-w", "--stdin", cwd=bare, stdin=record)
    scene.base = git("commit-tree", tree, "-m", "bomb", cwd=bare)
    git("update-ref", "refs/heads/main", scene.base, cwd=bare)
    start = time.monotonic()
    with pytest.raises(TooLarge) as caught:
        await scene.clone(files=50_000)
    assert caught.value.code == "repo_too_large"
    assert time.monotonic() - start < 20
    assert not any(scene.ws.tree.iterdir())


async def test_a_clone_that_takes_too_long(scene):
    with pytest.raises(GitTimedOut) as caught:
        await scene.clone(seconds=0.001)
    assert caught.value.code == "clone_timed_out"


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        (b".git", "100644"), (b".git", "120000"), (b".GIT", "120000"), (b"git~1", "100644"), (b".g\xe2\x80\x8cit", "100644"),
        (b"..", "120000"), (b".", "100644"), (b"a/b", "100644"), (b"", "100644"), (b".git ", "120000"),
    ],
)  # fmt: skip
async def test_names_that_would_write_into_a_repository_are_refused(scene, name, mode):
    scene.base = raw_commit(scene, [(mode, "blob", blob(scene, b"[core]\n\tfsmonitor = touch /tmp/no\n"), name)])
    with pytest.raises(PullwrightError) as caught:
        await scene.clone()
    assert caught.value.code in {"repository_malformed", "checkout_failed"}


async def test_a_nested_git_folder_is_refused(scene):
    bare = scene.world.bare("project")
    record = b"100755 post-checkout\0" + bytes.fromhex(blob(scene, b"#!/bin/sh\ntouch /tmp/no\n"))
    hooks = git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", cwd=bare, stdin=record)
    inner = git(
        "hash-object",
        "-t",
        "tree",
        "-w",
        "--stdin",
        "--literally",
        cwd=bare,
        stdin=b"40000 hooks\0" + bytes.fromhex(hooks),
    )
    scene.base = raw_commit(scene, [("40000", "tree", inner, b".git")])
    with pytest.raises(Invalid) as caught:
        await scene.clone()
    assert caught.value.code == "repository_malformed"


@pytest.mark.parametrize(
    "modules",
    [
        b'[submodule "x"]\n\tpath = x\n\turl = --upload-pack=touch${IFS}/tmp/no\n',
        b'[submodule "../../x"]\n\tpath = x\n\turl = https://example.org/x\n',
        b'[submodule "x"]\n\tpath = -x\n\turl = https://example.org/x\n',
    ],
)
async def test_hostile_submodules_are_refused(scene, modules):
    entries = [("100644", "blob", blob(scene, modules), b".gitmodules"), ("160000", "commit", "1" * 40, b"x")]
    scene.base = raw_commit(scene, entries)
    with pytest.raises(Invalid) as caught:
        await scene.clone()
    assert caught.value.code == "repository_malformed"


async def test_a_linked_gitmodules_is_refused(scene):
    scene.base = raw_commit(scene, [("120000", "blob", blob(scene, b"/etc/passwd"), b".gitmodules")])
    with pytest.raises(Invalid):
        await scene.clone()


async def test_honest_submodules_stay_empty_folders(scene):
    modules = f'[submodule "x"]\n\tpath = x\n\turl = {scene.world.url("other")}\n'.encode()
    entries = [("100644", "blob", blob(scene, modules), b".gitmodules"), ("160000", "commit", "1" * 40, b"x")]
    scene.base = raw_commit(scene, entries)
    await scene.clone()
    assert list((scene.ws.tree / "x").iterdir()) == []
    assert not any("other" in line for line in scene.world.seen)


async def test_filters_and_large_file_pointers_do_nothing(tmp_path):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    files = {
        ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n*.x filter=evil\n",
        "a.bin": pointer,
        "b.x": "x\n",
    }
    async with a_scene(tmp_path, files) as scene:
        await scene.clone()
        assert (scene.ws.tree / "a.bin").read_text() == pointer
        assert git("status", "--porcelain", cwd=scene.ws.tree) == ""


async def test_links_are_laid_out_as_links(scene):
    scene.base = raw_commit(scene, [("120000", "blob", blob(scene, b"/etc/passwd"), b"link")])
    await scene.clone()
    assert str((scene.ws.tree / "link").readlink()) == "/etc/passwd"


async def test_a_link_is_not_written_through(scene):
    outside = scene.folder / "outside"
    outside.mkdir()
    bare = scene.world.bare("project")
    record = b"100644 owned\0" + bytes.fromhex(blob(scene, b"x"))
    inner = git("hash-object", "-t", "tree", "-w", "--stdin", cwd=bare, stdin=record)
    entries = [("120000", "blob", blob(scene, os.fsencode(outside)), b"a"), ("40000", "tree", inner, b"a")]
    scene.base = raw_commit(scene, entries)
    with pytest.raises(PullwrightError):
        await scene.clone()
    assert list(outside.iterdir()) == []


async def test_old_but_harmless_trees_are_still_served(scene):
    bare = scene.world.bare("project")
    record = b"100644 f\0" + bytes.fromhex(blob(scene, b"x"))
    inner = git("hash-object", "-t", "tree", "-w", "--stdin", cwd=bare, stdin=record)
    scene.base = raw_commit(scene, [("040000", "tree", inner, b"folder")])
    await scene.clone()
    assert (scene.ws.tree / "folder" / "f").read_text() == "x"


async def test_the_base_alone_can_be_fetched_for_a_resume(scene):
    await fetch_base(scene.git, scene.ws, scene.remote, base_sha=scene.base)
    assert git("cat-file", "-t", scene.base, cwd=scene.ws.git) == "commit"
    assert not any(scene.ws.tree.iterdir())
