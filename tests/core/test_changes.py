"""Paths that decide over others."""

from __future__ import annotations

import pytest

from infra.core.protected_paths import is_protected, matches


@pytest.mark.parametrize(
    "path",
    [
        ".github/workflows/ci.yml", ".GitHub/Workflows/ci.yml", ".github/actions/x/action.yml", ".claude/settings.json",
        "packages/a/.claude/hooks/x", "CODEOWNERS", "docs/CODEOWNERS", ".github/CODEOWNERS", ".husky/pre-commit",
        "web/.husky/pre-push", ".githooks/pre-commit", ".mcp.json", "a/b/.mcp.json", ".gitmodules", ".pre-commit-config.yaml",
        "CLAUDE.md", "packages/api/AGENTS.md", ".gitattributes", "src/.gitattributes", ".npmrc", "cloudbuild.yaml", ".circleci/config.yml",
        # a file or link in the place of the folder
        ".claude", "packages/a/.claude", ".github/workflows", ".github", ".husky", ".vscode",
        # what another file system takes for the same name
        ".cla\u200dude/settings.json", ".CLAUDE./x", ".claude /x", ".github\\workflows\\x.yml", ".mcp.json::$DATA", ".mcp.json.", "\u212a/.husky/x",
    ],
)  # fmt: skip
def test_protected(path):
    assert is_protected(path)


@pytest.mark.parametrize(
    "path",
    [
        "src/app.py",
        "workflows/ci.yml",
        "docs/claude-code.md",
        "src/CODEOWNERS",
        "claude/x.py",
        "github/workflows/x.yml",
        "a.claude/x",
        "src/cloudbuild.yaml",
        "docs/github",
        ".github/ISSUE_TEMPLATE.md",
        "hooks.py",
    ],
)
def test_ordinary(path):
    assert not is_protected(path)


@pytest.mark.parametrize(
    ("path", "globs", "expected"),
    [
        (".github/workflows/ci.yml", (".github/workflows/ci.yml",), True),
        (".github/workflows/ci.yml", (".github/",), True),
        (".github/workflows/ci.yml", ("*.yml",), True),
        ("a/b.yml", ("*.yaml", "a"), True),
        ("ab/c", ("a",), False),
        ("a/b", (), False),
        ("A/b", ("a/*",), False),
    ],
)
def test_globs(path, globs, expected):
    assert matches(path, globs) is expected
