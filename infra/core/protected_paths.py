"""Paths that decide over others: what CI runs, who must review, what tools and the next agent do before anybody reads.

A change to one of them is dangerous however small it is, so it needs a person's approval and not only a reviewer's glance.
The lists follow what vendors document and what attacks have used; the sources stand beside them.
"""

from __future__ import annotations

import re
import unicodedata
from fnmatch import fnmatchcase

# At any depth: most of these tools read the folder nearest to the file that is open.
FOLDERS = (
    # https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax – and those who took it over
    ".github/workflows/",
    ".github/actions/",
    ".gitea/workflows/",
    ".forgejo/workflows/",
    ".circleci/",
    ".buildkite/",
    ".gitlab/ci/",
    ".woodpecker/",
    ".tekton/",
    # hooks that run on a developer's commit
    ".husky/",
    ".githooks/",
    ".git-hooks/",
    ".hooks/",
    # editors that run tasks when a folder is opened: https://code.visualstudio.com/docs/editing/workspaces/workspace-trust
    ".vscode/",
    ".devcontainer/",
    ".zed/",
    # what coding agents obey or execute: https://code.claude.com/docs/en/settings
    ".claude/",
    ".agents/",
    ".codex/",
    ".cursor/",
    ".gemini/",
    ".windsurf/",
    ".clinerules/",
    ".roo/",
    ".kiro/",
    ".amazonq/",
    ".github/agents/",
    ".github/instructions/",
    ".github/prompts/",
)
NAMES = frozenset(
    {
        # agents
        ".mcp.json",
        ".claude.json",
        "claude.md",
        "claude.local.md",
        "agents.md",
        "agents.override.md",
        "gemini.md",
        ".cursorrules",
        ".windsurfrules",
        ".clinerules",
        # git: where submodules come from; which files are hidden from diffs or passed through programs
        ".gitmodules",
        ".gitattributes",
        ".lfsconfig",
        # hook managers
        ".pre-commit-config.yaml",
        "lefthook.yml",
        "lefthook.yaml",
        ".lefthook.yml",
        ".lefthook.yaml",
        ".huskyrc",
        # package managers: which registry, and which program answers to the package manager's name
        ".npmrc",
        ".yarnrc",
        ".yarnrc.yml",
        ".pnpmfile.cjs",
        ".envrc",
    }
)
"""File names that act in whatever folder they lie."""

FILES = frozenset(
    {
        # https://docs.github.com/en/repositories/managing-your-repositorys-settings-and-features/customizing-your-repository/about-code-owners
        "codeowners",
        ".github/codeowners",
        "docs/codeowners",
        ".github/dependabot.yml",
        ".github/dependabot.yaml",
        ".github/copilot-instructions.md",
        ".github/renovate.json",
        ".github/renovate.json5",
        "renovate.json",
        "renovate.json5",
        ".renovaterc",
        ".renovaterc.json",
        ".gitlab-ci.yml",
        ".travis.yml",
        ".drone.yml",
        ".cirrus.yml",
        ".woodpecker.yml",
        ".appveyor.yml",
        "appveyor.yml",
        "azure-pipelines.yml",
        "bitbucket-pipelines.yml",
        "buildspec.yml",
        "cloudbuild.yaml",
        "cloudbuild.yml",
        "jenkinsfile",
    }
)
"""Files that count where their service reads them: in the root, unless the path says otherwise."""

# A file or link in the place of a folder decides over everything that is looked for below it.
_IN_FOLDER = re.compile(rf"(?:^|/)(?:{'|'.join(re.escape(folder.rstrip('/')) for folder in FOLDERS)})(?:/|$)")
_PARENTS = frozenset(folder.split("/")[0] for folder in FOLDERS)

# HFS+ drops these from names, so that ".cla\u200dude" is ".claude" on a Mac; git guards only ".git" against it.
# https://github.com/git/git/blob/v2.39.5/utf8.c (next_hfs_char)
_DROPPED = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
_ODD_ENDS = (":", "./", " /")
_STREAM = re.compile(r"(?<=.):[^/]*")  # NTFS: name:stream is the file name


def is_protected(path: str) -> bool:
    """True for a path that is protected on any file system that people check out to: case, Unicode forms and invisible
    characters make no difference, nor do endings and separators that Windows does not tell apart."""
    folded = _folded(path)
    return folded in FILES or folded.rsplit("/", 1)[-1] in NAMES or folded in _PARENTS or _in_folder(folded)


def matches(path: str, patterns: tuple[str, ...]) -> bool:
    """True when one of the globs fits the whole path, or a folder above it. ``*`` also crosses slashes; case counts."""
    parts = path.split("/")
    above = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
    return any(fnmatchcase(part, pattern.rstrip("/")) for part in above for pattern in patterns)


def _in_folder(folded: str) -> bool:
    return "/." in f"/{folded}" and _IN_FOLDER.search(folded) is not None  # all of them begin with a dot


def _folded(path: str) -> str:
    plain = path.replace("\\", "/").casefold()
    if not path.isascii():
        plain = unicodedata.normalize("NFC", _DROPPED.sub("", plain)).casefold()
    if not any(odd in f"{plain}/" for odd in _ODD_ENDS):
        return plain
    return "/".join(_STREAM.sub("", part).rstrip(". ") or part for part in plain.split("/"))
