"""The repository's own pull request template, as its base commit has it: never a version that the agent wrote.

https://docs.github.com/en/communities/using-templates-to-encourage-useful-issues-and-pull-requests/creating-a-pull-request-template-for-your-repository
"""

from __future__ import annotations

from runner.git import Git, GitFailed
from runner.workspace import Workspace

NAME = "pull_request_template.md"
FOLDERS = (".github/", "", "docs/")
"""In the order in which GitHub looks."""

MAX_BYTES = 32_000


async def pull_template(git: Git, workspace: Workspace, base_sha: str) -> str:
    """Its text, or nothing: there is none, it is no plain file, or it is too long to repeat in every pull request."""
    for folder in FOLDERS:
        try:
            listed = await git.local(
                "ls-tree", "-l", "-z", base_sha, "--", *([folder] if folder else []), directory=workspace.git
            )
        except GitFailed:
            continue
        for line in listed.decode("utf-8", "replace").split("\0"):
            facts, _, path = line.partition("\t")
            if path.lower() != folder + NAME:
                continue
            _, kind, blob, size = facts.split()
            if kind == "blob" and int(size) <= MAX_BYTES:
                return (await git.local("cat-file", "blob", blob, directory=workspace.git)).decode("utf-8", "replace")
    return ""
