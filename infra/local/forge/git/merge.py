"""Merging in a bare repository: three-way on trees, no work tree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from infra.local.forge.git.commits import Signature
from infra.local.forge.git.processes import Git, GitFailed


async def merged_tree(git: Git, directory: Path, base: str, head: str) -> str | None:
    """The tree that merging gives, None when there are conflicts.

    Raises ``GitFailed`` on git before 2.38, which has no ``merge-tree --write-tree``.
    """
    try:
        output = await git.run(directory, "merge-tree", "--write-tree", "--no-messages", base, head)
    except GitFailed as failure:
        if failure.status == 1:
            return None
        raise
    return output.decode().split("\n", 1)[0].strip("\0 ")


async def commit_tree(
    git: Git,
    directory: Path,
    *,
    tree: str,
    parents: Sequence[str],
    message: str,
    author: Signature,
    committer: Signature,
) -> str:
    """Writes the commit and returns its id; no ref moves."""
    arguments = [argument for parent in parents for argument in ("-p", parent)]
    environment = {
        "GIT_AUTHOR_NAME": author.name,
        "GIT_AUTHOR_EMAIL": author.email,
        "GIT_AUTHOR_DATE": author.date,
        "GIT_COMMITTER_NAME": committer.name,
        "GIT_COMMITTER_EMAIL": committer.email,
        "GIT_COMMITTER_DATE": committer.date,
    }
    output = await git.run(
        directory, "commit-tree", tree, *arguments, "-F", "-", stdin=message.encode(), environment=environment
    )
    return output.decode().strip()
