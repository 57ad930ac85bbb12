"""Inside a box: an agent's files, or its conversation, as a git bundle on standard output.

git gets a repository made for this alone, with the agent's objects to lean on and none of its configuration. ``.gitignore``
counts as it will when the work is collected; a repository inside the tree is kept by name only.

    work BASE TREE TMP MESSAGE      what the tree adds to the commit BASE
    session ID HOME TMP MESSAGE     the transcript of Claude Code's session ID, and what lies beside it
"""

from __future__ import annotations

import glob
import os
import subprocess
import sys

_CONFIG = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"
_SHALLOW = "shallow"


def main(arguments: list[str]) -> None:
    kind, name, place, tmp, message = arguments
    repository = f"{tmp}/repository"
    _lay_out(repository)
    if kind == "work":
        alternates = f"{repository}/objects/info/alternates"
        _write(alternates, f"{place}/.git/objects\n")
        if os.path.exists(f"{place}/.git/{_SHALLOW}"):  # noqa: PTH110 - starts faster
            _write(f"{repository}/{_SHALLOW}", f"{name}\n")
        _git(repository, place, "read-tree", name)
        # what vanishes while git reads, and pipes and sockets, are no part of the work
        _git(repository, place, "add", "--all", "--ignore-errors", check=False)
        _bundle(repository, place, "refs/pullwright/work", message, parents=["-p", name], since=[f"^{name}"])
    else:
        transcripts = glob.glob(f"{place}/.claude/projects/*/{name}.jsonl")  # noqa: PTH207 - starts faster
        if not transcripts:
            sys.exit(3)
        folder = os.path.dirname(transcripts[0])  # noqa: PTH120
        paths = [each for each in (f"{name}.jsonl", name) if os.path.exists(f"{folder}/{each}")]  # noqa: PTH110
        _git(repository, folder, "add", "--all", "--force", "--ignore-errors", "--", *paths, check=False)
        _bundle(repository, folder, "refs/pullwright/session", message, parents=[], since=[])


def _bundle(repository: str, tree: str, reference: str, message: str, *, parents: list[str], since: list[str]) -> None:
    made = _git(repository, tree, "write-tree").strip()
    commit = _git(repository, tree, "commit-tree", made, *parents, "-m", message).strip()
    _git(repository, tree, "update-ref", reference, commit)
    sys.stdout.flush()
    _git(repository, tree, "bundle", "create", "--quiet", "-", reference, *since, out=sys.stdout.fileno())


def _lay_out(repository: str) -> None:
    for folder in ("objects/info", "refs/heads"):
        os.makedirs(f"{repository}/{folder}")  # noqa: PTH103
    _write(f"{repository}/HEAD", "ref: refs/heads/none\n")
    _write(f"{repository}/config", _CONFIG)


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123
        file.write(text)


def _git(repository: str, tree: str, *arguments: str, check: bool = True, out: int = subprocess.PIPE) -> str:
    argv = ["git", f"--git-dir={repository}", f"--work-tree={tree}", *arguments]
    done = subprocess.run(argv, stdout=out, check=check, cwd=tree)
    return (done.stdout or b"").decode()


if __name__ == "__main__":
    main(sys.argv[1:])
