"""Inside a box: an agent's conversation and its files as two git bundles on standard output, the first with its size before it.

git gets a repository made for this alone, with the agent's objects to lean on and none of its configuration. ``.gitignore``
counts as it will when the work is collected; a repository inside the tree is kept by name only.

    SESSION HOME BASE TREE TMP MESSAGE

The transcript of Claude Code's session SESSION and what lies beside it; then what the tree adds to the commit BASE. Right after
each other: the files must not be much newer than what the agent remembers of them.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys

_CONFIG = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"
_SHALLOW = "shallow"


def main(arguments: list[str]) -> None:
    session, home, base, tree, tmp, message = arguments
    conversation = _conversation(session, home, f"{tmp}/session", message)
    work = _work(base, tree, f"{tmp}/work", message)
    size = os.path.getsize(conversation) if conversation else 0  # noqa: PTH202 - starts faster
    sys.stdout.write(f"{size}\n")
    sys.stdout.flush()
    for path in filter(None, (conversation, work)):
        with open(path, "rb") as file:  # noqa: PTH123
            shutil.copyfileobj(file, sys.stdout.buffer)
    sys.stdout.flush()


def _conversation(session: str, home: str, repository: str, message: str) -> str:
    transcripts = glob.glob(f"{home}/.claude/projects/*/{session}.jsonl") if session else []  # noqa: PTH207
    if not transcripts:
        return ""
    _lay_out(repository)
    folder = os.path.dirname(transcripts[0])  # noqa: PTH120
    paths = [each for each in (f"{session}.jsonl", session) if os.path.exists(f"{folder}/{each}")]  # noqa: PTH110
    _git(repository, folder, "add", "--all", "--force", "--ignore-errors", "--", *paths, check=False)
    return _bundle(repository, folder, "refs/pullwright/session", message, parents=[], since=[])


def _work(base: str, tree: str, repository: str, message: str) -> str:
    _lay_out(repository)
    _write(f"{repository}/objects/info/alternates", f"{tree}/.git/objects\n")
    if os.path.exists(f"{tree}/.git/{_SHALLOW}"):  # noqa: PTH110
        _write(f"{repository}/{_SHALLOW}", f"{base}\n")
    _git(repository, tree, "read-tree", base)
    # what vanishes while git reads, and pipes and sockets, are no part of the work
    _git(repository, tree, "add", "--all", "--ignore-errors", check=False)
    return _bundle(repository, tree, "refs/pullwright/work", message, parents=["-p", base], since=[f"^{base}"])


def _bundle(repository: str, tree: str, reference: str, message: str, *, parents: list[str], since: list[str]) -> str:
    made = _git(repository, tree, "write-tree").strip()
    commit = _git(repository, tree, "commit-tree", made, *parents, "-m", message).strip()
    _git(repository, tree, "update-ref", reference, commit)
    path = f"{repository}/bundle"
    _git(repository, tree, "bundle", "create", "--quiet", path, reference, *since)
    return path


def _lay_out(repository: str) -> None:
    for folder in ("objects/info", "refs/heads"):
        os.makedirs(f"{repository}/{folder}")  # noqa: PTH103
    _write(f"{repository}/HEAD", "ref: refs/heads/none\n")
    _write(f"{repository}/config", _CONFIG)


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123
        file.write(text)


def _git(repository: str, tree: str, *arguments: str, check: bool = True) -> str:
    argv = ["git", f"--git-dir={repository}", f"--work-tree={tree}", *arguments]
    return subprocess.run(argv, stdout=subprocess.PIPE, check=check, cwd=tree).stdout.decode()


if __name__ == "__main__":
    main(sys.argv[1:])
