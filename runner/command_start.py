"""The first moments of a command in its box: git gets a repository whose configuration is ours, then the command takes over.

The agent owns ``.git`` of its tree and can write there what git executes: hooks, pagers, external diffs, text conversions,
filters, file-system monitors. So git is given a repository beside it, made new for each command: the agent's objects,
references and index, none of its configuration or attributes. It runs inside the box, as the agent's user, with nothing
but the standard library, and is handed over as text.
"""

from __future__ import annotations

import os
import shutil
import sys

_CONFIG = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = false\n"
_ENV = "/usr/bin/env"
_COPIED = ("HEAD", "packed-refs", "shallow", "index", "refs")


def main(arguments: list[str]) -> None:
    path, tree, home, *command = arguments
    variables = [f"PATH={path}"]
    if command[0] == "git":
        ours, theirs = os.path.join(home, "repository"), os.path.join(tree, ".git")  # noqa: PTH118 - starts faster
        _own_repository(theirs, ours)
        variables += [f"GIT_DIR={ours}", f"GIT_WORK_TREE={tree}", f"GIT_OBJECT_DIRECTORY={theirs}/objects"]
    os.chdir(tree)
    os.execv(_ENV, [_ENV, *variables, *command])  # noqa: S606 - there is no shell to avoid


def _own_repository(theirs: str, ours: str) -> None:
    os.mkdir(ours)  # noqa: PTH102
    for name in _COPIED:
        source, copy = f"{theirs}/{name}", f"{ours}/{name}"
        if os.path.isdir(source):  # noqa: PTH112
            shutil.copytree(source, copy)
        elif os.path.exists(source):  # noqa: PTH110
            shutil.copyfile(source, copy)
    with open(f"{ours}/config", "w") as file:  # noqa: PTH123
        file.write(_CONFIG)


if __name__ == "__main__":
    main(sys.argv[1:])
