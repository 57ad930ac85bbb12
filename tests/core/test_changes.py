"""Paths that decide over others."""

from __future__ import annotations

import pytest

from infra.core.changes import is_protected


@pytest.mark.parametrize(
    "path",
    [
        ".github/workflows/ci.yml", ".GitHub/Workflows/ci.yml", ".github/actions/x/action.yml", ".claude/settings.json",
        "packages/a/.claude/hooks/x", "CODEOWNERS", "docs/CODEOWNERS", ".github/CODEOWNERS", ".husky/pre-commit",
        "web/.husky/pre-push", ".githooks/pre-commit", ".mcp.json", "a/b/.mcp.json", ".gitmodules", ".pre-commit-config.yaml",
    ],
)  # fmt: skip
def test_protected(path):
    assert is_protected(path)


@pytest.mark.parametrize(
    "path",
    ["src/app.py", "workflows/ci.yml", "docs/claude.md", "src/CODEOWNERS", ".github/ISSUE_TEMPLATE.md", "hooks.py"],
)
def test_ordinary(path):
    assert not is_protected(path)
