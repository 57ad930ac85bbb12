"""What the agent left becomes a commit: its files are read, its repository is not, and nothing in it acts."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import time
from pathlib import Path

import pytest

from infra.core.changes import ChangeKind, FileType
from infra.core.errors import Conflict, Invalid, TooLarge
from infra.core.words import commit_message
from runner.collect import CollectLimits, collect, commit
from runner.publish import push
from runner.saved_work import bundle
from tests.world.deep_folders import nest
from tests.world.git_http import GitHttp, Remote, git
from tests.world.git_scene import BOT, BRANCH, NOW, RUN, a_scene


@pytest.fixture
async def scene(tmp_path):
    files = {
        "README.md": "hello\n",
        "src/app.py": "one\ntwo\nthree\n",
        "tool.sh": "#!/bin/sh\n",
        "data.bin": "\0\1\2",
        ".gitignore": "*.log\nbuild/\n",
    }
    async with a_scene(tmp_path, files) as made:
        await made.clone()
        yield made


async def changes_of(scene):
    return await collect(scene.git, scene.ws, base_sha=scene.base)


async def test_each_kind_of_change_is_named(scene):
    tree = scene.ws.tree
    (tree / "src" / "app.py").write_text("one\n2\nthree\nfour\n")
    (tree / "README.md").unlink()
    (tree / "data.bin").write_bytes(b"\0\3")
    (tree / "tool.sh").chmod(0o755)
    (tree / "new.txt").write_text("x\n")
    (tree / "link").symlink_to("/etc/passwd")
    (tree / ".gitignore").unlink()
    (tree / ".gitignore").symlink_to("src/app.py")
    changes = await changes_of(scene)
    told = {f.path: (f.kind, f.type, f.lines_added, f.lines_removed, f.binary) for f in changes.files}
    assert told == {
        "src/app.py": (ChangeKind.MODIFIED, FileType.FILE, 2, 1, False),
        "README.md": (ChangeKind.DELETED, FileType.FILE, 0, 1, False),
        "data.bin": (ChangeKind.MODIFIED, FileType.FILE, 0, 0, True),
        "tool.sh": (ChangeKind.MODE, FileType.EXECUTABLE, 0, 0, False),
        "new.txt": (ChangeKind.ADDED, FileType.FILE, 1, 0, False),
        "link": (ChangeKind.ADDED, FileType.SYMLINK, 1, 0, False),
        ".gitignore": (ChangeKind.RETYPED, FileType.SYMLINK, 1, 2, False),
    }
    assert (changes.files_changed, changes.lines_added, changes.lines_removed) == (7, 5, 4)
    assert not changes.modes_only


async def test_a_commit_is_the_same_for_the_same_work_and_time(scene):
    (scene.ws.tree / "new.txt").write_text("x\n")
    changes = await changes_of(scene)

    async def made(now: int, title: str = "T") -> str:
        return await commit(scene.git, scene.ws, changes, message=commit_message(title, RUN), identity=BOT, now=now)

    sha = await made(NOW)
    assert await made(NOW + 999) == sha
    assert await made(NOW + 1000) != sha
    assert await made(NOW, "U") != sha
    shown = git("log", "-1", "--format=%P|%an|%ae|%cn|%ce|%at|%B", sha, cwd=scene.ws.git)
    assert shown == "|".join(
        [scene.base, BOT.name, BOT.email, BOT.name, BOT.email, str(NOW // 1000), f"T\n\nPullwright-Run: {RUN}"]
    )
    assert git("show", f"{sha}:new.txt", cwd=scene.ws.git) == "x"


def nothing(_tree: Path) -> None: ...


def only_ignored(tree: Path) -> None:
    (tree / "debug.log").write_text("x")
    (tree / "build").mkdir()
    (tree / "build" / "out.o").write_text("x")


def empty_commit(tree: Path) -> None:
    git("commit", "-q", "--allow-empty", "-m", "nothing", cwd=tree)


def committed_and_reverted(tree: Path) -> None:
    (tree / "README.md").write_text("x")
    git("commit", "-q", "-am", "there", cwd=tree)
    git("revert", "--no-edit", "HEAD", cwd=tree)


def touched(tree: Path) -> None:
    (tree / "README.md").write_text((tree / "README.md").read_text())


def permissions(tree: Path) -> None:
    (tree / "README.md").chmod(0o600)


def empty_folder(tree: Path) -> None:
    (tree / "empty").mkdir()


def repository_gone(tree: Path) -> None:
    shutil.rmtree(tree / ".git")


@pytest.mark.parametrize(
    "act",
    [nothing, only_ignored, empty_commit, committed_and_reverted, touched, permissions, empty_folder, repository_gone],
)
async def test_no_change_is_none(scene, act):
    act(scene.ws.tree)
    assert await changes_of(scene) is None


async def test_an_executable_bit_is_a_change_that_says_so(scene):
    (scene.ws.tree / "tool.sh").chmod(0o755)
    changes = await changes_of(scene)
    assert changes.modes_only


async def test_what_the_agent_committed_or_stashed_itself_counts_by_its_files(scene):
    (scene.ws.tree / "new.txt").write_text("x\n")
    git("add", "-A", cwd=scene.ws.tree)
    git("commit", "-q", "-m", "mine", cwd=scene.ws.tree)
    git("checkout", "-q", "-b", "main", cwd=scene.ws.tree)
    assert [f.path for f in (await changes_of(scene)).files] == ["new.txt"]


async def test_a_change_that_keeps_size_and_time_is_still_seen(scene):
    path = scene.ws.tree / "README.md"
    before = path.stat()
    path.write_text("jello\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [f.path for f in (await changes_of(scene)).files] == ["README.md"]


async def test_ignore_rules_that_the_agent_adds_count_and_are_part_of_the_change(scene):
    (scene.ws.tree / ".gitignore").write_text("*.log\nbuild/\ndist/\n")
    (scene.ws.tree / "dist").mkdir()
    (scene.ws.tree / "dist" / "x").write_text("x")
    assert [f.path for f in (await changes_of(scene)).files] == [".gitignore"]


async def test_private_excludes_of_the_agent_do_not_count(scene):
    (scene.ws.tree / ".git" / "info").mkdir(exist_ok=True)
    (scene.ws.tree / ".git" / "info" / "exclude").write_text("*\n")
    (scene.ws.home / ".config" / "git").mkdir(parents=True)
    (scene.ws.home / ".config" / "git" / "ignore").write_text("*\n")
    (scene.ws.tree / "new.txt").write_text("x")
    assert [f.path for f in (await changes_of(scene)).files] == ["new.txt"]


EVIL_NAMES = [
    b"new\nline", b"-rf", b"--upload-pack=touch x", b" lead", b"trail ", b"tab\tname", b"quote\"'`$(touch x)", b"back\\slash",
    b"\xff\xfe.bin", b"...", b"..x", b"..\\x", b"*", b":(exclude)*", b":^x", b"!important", b"#c", b"\x01\x1b[31m", b"{a,b}",
    "e\u0301\u202e.txt".encode(), b"x" * 255, b"C:", b"con", b"100644 x",
]  # fmt: skip


async def test_evil_names_are_only_names(scene):
    (scene.ws.tree / "-d\n").mkdir()
    for name in EVIL_NAMES:
        for folder in ("", "-d\n"):
            (scene.ws.tree / folder / os.fsdecode(name)).write_bytes(b"x\n")
    head = await scene.commit()
    listed = git("ls-tree", "-r", "-z", "--name-only", head, cwd=scene.ws.git).encode("utf-8", "surrogateescape")
    expected = {folder + name for name in EVIL_NAMES for folder in (b"", b"-d\n/")}
    assert (
        set(listed.split(b"\0")) - {b""} - {b"README.md", b"src/app.py", b"tool.sh", b"data.bin", b".gitignore"}
        == expected
    )
    changes = await changes_of(scene)
    assert changes.files_changed == len(expected)
    assert "\\xff\\xfe.bin" in {f.path for f in changes.files}
    for file in changes.files:
        file.path.encode()  # fit for JSON and documents


@pytest.mark.parametrize("name", [b"git~1", b".g\xe2\x80\x8cit"])
async def test_names_that_become_a_repository_elsewhere_are_refused_with_a_reason(scene, name):
    (scene.ws.tree / os.fsdecode(name)).write_bytes(b"x")
    with pytest.raises(Invalid) as caught:
        await changes_of(scene)
    assert caught.value.code == "unpublishable_files"
    assert "invalid path" in caught.value.message.lower()


async def test_nested_repositories_become_ordinary_files(scene):
    nested = scene.ws.tree / "vendor" / "lib"
    nested.mkdir(parents=True)
    (nested / "lib.py").write_text("x\n")
    git("init", "-q", cwd=nested)
    git("add", "-A", cwd=nested)
    git("commit", "-q", "-m", "x", cwd=nested)
    (scene.ws.tree / "UP" / ".GIT").mkdir(parents=True)
    changes = await changes_of(scene)
    assert [(f.path, f.type) for f in changes.files] == [("vendor/lib/lib.py", FileType.FILE)]
    assert changes.set_aside == ("UP/.GIT", "vendor/lib/.git")


@pytest.mark.parametrize("kind", ["link", "file", "broken link", "link to supervisor"])
async def test_a_replaced_repository_is_not_followed(scene, kind):
    own = scene.ws.tree / ".git"
    away = scene.folder / "away"
    own.rename(away)
    match kind:
        case "link":
            own.symlink_to(away)
        case "file":
            own.write_text(f"gitdir: {away}\n")
        case "broken link":
            own.symlink_to("/nowhere/at/all")
        case _:
            own.symlink_to(scene.ws.git)
    (scene.ws.tree / "new.txt").write_text("x\n")
    (scene.ws.tree / "sub").mkdir()
    (scene.ws.tree / "sub" / ".git").symlink_to(away)
    changes = await changes_of(scene)
    assert [f.path for f in changes.files] == ["new.txt"]
    assert away.is_dir()
    assert (scene.ws.git / "HEAD").exists()


async def test_pipes_and_sockets_cannot_make_it_hang(scene):
    (scene.ws.tree / ".gitignore").unlink()
    os.mkfifo(scene.ws.tree / ".gitignore")
    os.mkfifo(scene.ws.tree / ".gitattributes")
    os.mkfifo(scene.ws.tree / "src" / "pipe")
    with socket.socket(socket.AF_UNIX) as listener, contextlib.chdir(scene.ws.tree):  # socket paths are short
        listener.bind("sock")
    changes = await changes_of(scene)
    assert changes.set_aside == (".gitattributes", ".gitignore", "sock", "src/pipe")
    assert [(f.path, f.kind) for f in changes.files] == [(".gitignore", ChangeKind.DELETED)]


async def test_links_out_of_the_tree_stay_links_and_are_never_followed(scene):
    outside = scene.folder / "outside"
    outside.mkdir()
    (outside / "app.py").write_text("stolen\n")
    (outside / ".git").mkdir()
    shutil.rmtree(scene.ws.tree / "src")
    (scene.ws.tree / "src").symlink_to(outside)
    (scene.ws.tree / "env").symlink_to("/proc/self/environ")
    head = await scene.commit()
    assert git("ls-tree", "-r", head, "src", "env", cwd=scene.ws.git).count("120000 blob") == 2
    assert git("cat-file", "blob", f"{head}:env", cwd=scene.ws.git) == "/proc/self/environ"
    assert "stolen" not in git("log", "-p", "-1", head, cwd=scene.ws.git)
    assert (outside / ".git").is_dir()


async def test_a_tree_that_was_swapped_for_a_link_is_refused_and_not_touched(scene):
    elsewhere = scene.folder / "elsewhere"
    (elsewhere / ".git").mkdir(parents=True)
    scene.ws.tree.rename(scene.folder / "old")
    scene.ws.tree.symlink_to(elsewhere)
    with pytest.raises(Conflict) as caught:
        await changes_of(scene)
    assert caught.value.code == "workspace_tampered"
    assert (elsewhere / ".git").is_dir()


async def test_submodules_of_the_base_stay_as_they_are(scene):
    bare = scene.world.bare("project")
    base_tree = git("ls-tree", "main", cwd=bare)
    tree = git("mktree", cwd=bare, stdin=f"{base_tree}\n160000 commit {'1' * 40}\tmod\n".encode())
    scene.base = git("commit-tree", tree, "-m", "with module", cwd=bare)
    git("update-ref", "refs/heads/main", scene.base, cwd=bare)
    shutil.rmtree(scene.ws.tree)
    scene.ws.tree.mkdir()
    await scene.clone()
    canary = scene.folder / "canary"
    module = scene.ws.tree / "mod"
    git("init", "-q", cwd=module)
    git("config", "core.fsmonitor", f"touch {canary}; false", cwd=module)
    (module / "file").write_text("x")
    git("-c", "core.fsmonitor=false", "add", "-A", cwd=module)
    git("-c", "core.fsmonitor=false", "commit", "-qm", "x", cwd=module)
    assert not canary.exists()
    (scene.ws.tree / "new.txt").write_text("x\n")
    changes = await changes_of(scene)
    assert [f.path for f in changes.files] == ["new.txt"]
    assert changes.set_aside == ("mod/.git",)
    assert not canary.exists()


POISON = {
    "core.fsmonitor": "{act}", "core.sshCommand": "{act}", "core.gitProxy": "{act}", "core.pager": "{act}", "core.editor": "{act}",
    "core.askPass": "{act}", "core.hooksPath": "{hooks}", "core.attributesFile": "{attributes}", "core.excludesFile": "{all}",
    "core.worktree": "/", "core.bare": "true", "core.alternateRefsCommand": "{act}", "core.gitDir": "/", "include.path": "{more}",
    "filter.evil.clean": "{act}", "filter.evil.smudge": "{act}", "filter.evil.process": "{act}", "filter.evil.required": "true",
    "diff.evil.textconv": "{act}", "diff.evil.command": "{act}", "diff.external": "{act}", "merge.evil.driver": "{act}",
    "credential.helper": "!{act}", "http.proxy": "{thief}", "http.sslVerify": "false", "http.extraHeader": "X-Evil: 1",
    "http.cookieFile": "/etc/passwd", "url.{thief}/.insteadOf": "{home}/", "url.{thief}/x/.pushInsteadOf": "{home}/",
    "remote.origin.url": "{thief}/project.git", "remote.origin.vcs": "evil", "remote.origin.receivepack": "{act}",
    "gpg.program": "{act}", "commit.gpgSign": "true", "push.gpgSign": "true", "protocol.allow": "always",
    "protocol.ext.allow": "always", "uploadpack.packObjectsHook": "{act}", "sequence.editor": "{act}", "alias.add": "!{act}",
    "alias.push": "!{act}", "trailer.x.command": "{act}", "submodule.recurse": "true", "maintenance.auto": "true",
    "extensions.worktreeConfig": "true", "transfer.fsckObjects": "false", "push.pushOption": "evil", "fetch.fsckObjects": "false",
}  # fmt: skip
HOOKS = ("pre-commit", "prepare-commit-msg", "commit-msg", "post-commit", "pre-push", "post-checkout", "post-index-change",
         "reference-transaction", "fsmonitor-watchman", "pre-auto-gc", "push-to-checkout", "update", "post-rewrite")  # fmt: skip


def poison(scene, thief: str, keys: list[str]) -> Path:
    """Plants the keys, all hooks, attributes and drop-in files in every place an agent can write to."""
    canary = scene.folder / "canary"
    act = scene.ws.tmp / "act"
    act.write_text(f"#!/bin/sh\ntouch {canary}\n")
    act.chmod(0o755)
    hooks = scene.ws.home / "hooks"
    for folder in (hooks, scene.ws.tree / ".git" / "hooks"):
        folder.mkdir(exist_ok=True)
        for hook in HOOKS:
            shutil.copy(act, folder / hook)
    attributes = scene.ws.home / "attributes"
    attributes.write_text("* filter=evil diff=evil merge=evil\n")
    shutil.copy(attributes, scene.ws.tree / ".gitattributes")
    (scene.ws.home / "all").write_text("*\n")
    more = scene.ws.home / "more"
    more.write_text(f"[core]\n\tfsmonitor = {act}\n")
    values = {
        "act": str(act), "hooks": str(hooks), "attributes": str(attributes), "all": str(scene.ws.home / "all"),
        "more": str(more), "thief": thief, "home": scene.world.url("project").rsplit("/", 1)[0],
    }  # fmt: skip
    text = ""
    for key in keys:
        section, _, name = key.format(**values).rpartition(".")
        head, _, sub = section.partition(".")
        text += f'[{head} "{sub}"]\n' if sub else f"[{head}]\n"
        text += f"\t{name} = {POISON[key].format(**values)}\n"
    for path in (scene.ws.tree / ".git" / "config", scene.ws.home / ".gitconfig", scene.ws.tree / ".gitconfig"):
        with path.open("a") as config:
            config.write(text)
    (scene.ws.tree / ".lfsconfig").write_text(f"[lfs]\n\turl = {thief}\n")
    (scene.ws.tree / ".git" / "objects" / "info").mkdir(exist_ok=True)
    (scene.ws.tree / ".git" / "objects" / "info" / "alternates").write_text(str(scene.ws.git / "objects") + "\n")
    return canary


ALL = list(POISON)
ALONE = [pytest.param([key], id=key, marks=pytest.mark.full) for key in ALL]
TOGETHER = [pytest.param(ALL[start::5], id=f"part {start}") for start in range(5)]


@pytest.mark.parametrize("keys", [pytest.param(ALL, id="all"), *TOGETHER, *ALONE])
async def test_a_poisoned_repository_has_no_effect(scene, tmp_path, keys, monkeypatch):
    monkeypatch.setenv("HOME", str(scene.ws.home))
    served = tmp_path / "thief"
    served.mkdir()
    thief = Remote(root=served)
    with GitHttp(thief):
        canary = poison(scene, f"http://127.0.0.1:{thief.port}", keys)
        (scene.ws.tree / "src" / "app.py").write_text("changed\n")
        head = await scene.commit()
        await bundle(scene.git, scene.ws, head=head, base_sha=scene.base)
        await push(scene.git, scene.ws, scene.remote, scene.work(head), pauses=())
    assert not canary.exists()
    assert thief.seen == []
    assert scene.world.tip("project", BRANCH) == head
    assert git("show", f"{head}:src/app.py", cwd=scene.world.bare("project")) == "changed"
    assert not any("X-Evil" in line for line in scene.world.seen)


async def test_the_poison_would_have_worked(scene):
    """The same files do act when git is run inside the agent's tree: the test above can fail."""
    canary = poison(scene, "http://127.0.0.1:1", ["core.fsmonitor"])
    git("status", cwd=scene.ws.tree)
    assert canary.exists()


async def test_too_much_is_refused(scene):
    (scene.ws.tree / "big").write_bytes(os.urandom(3_000_000))
    with pytest.raises(TooLarge) as caught:
        await collect(scene.git, scene.ws, base_sha=scene.base, limits=CollectLimits(stored_bytes=1_000_000))
    assert caught.value.code == "changes_too_large"


async def test_an_endless_file_is_stopped(scene):
    with (scene.ws.tree / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    start = time.monotonic()
    with pytest.raises(TooLarge) as caught:
        await collect(scene.git, scene.ws, base_sha=scene.base, limits=CollectLimits(seconds=0.5))
    assert caught.value.code == "changes_too_large"
    assert time.monotonic() - start < 5


async def test_ignored_build_output_may_be_as_large_as_it_likes(scene):
    (scene.ws.tree / "build").mkdir()
    with (scene.ws.tree / "build" / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    (scene.ws.tree / "new.txt").write_text("x")
    assert (await changes_of(scene)).files_changed == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
async def test_folders_that_were_closed_are_opened(scene):
    (scene.ws.tree / "src").chmod(0)
    assert await changes_of(scene) is None


async def test_closed_folders_and_files_lose_nothing(scene):
    (scene.ws.tree / "shut").mkdir()
    (scene.ws.tree / "shut" / "f").write_text("x")
    (scene.ws.tree / "shut").chmod(stat.S_IRUSR)
    if os.geteuid():
        with pytest.raises(Invalid):
            await changes_of(scene)
    else:
        assert [f.path for f in (await changes_of(scene)).files] == ["shut/f"]


async def test_a_folder_nested_too_deep_is_refused_with_a_reason(scene):
    nest(scene.ws.tree, 40, "d" * 200)
    with pytest.raises(Invalid) as caught:
        await changes_of(scene)
    assert "too long" in caught.value.message


async def test_paths_that_need_a_second_look_are_reported(scene):
    for name in (
        ".github/workflows/ci.yml",
        ".claude/settings.json",
        "CODEOWNERS",
        "src/.husky/pre-commit",
        "src/ok.py",
    ):
        (scene.ws.tree / name).parent.mkdir(parents=True, exist_ok=True)
        (scene.ws.tree / name).write_text("x\n")
    changes = await changes_of(scene)
    assert changes.protected == (
        ".claude/settings.json",
        ".github/workflows/ci.yml",
        "CODEOWNERS",
        "src/.husky/pre-commit",
    )
    assert changes.files_changed == 5
