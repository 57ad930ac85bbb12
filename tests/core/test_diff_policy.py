"""What may be published without a person, and what the refusal says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from infra.core.changes import ChangeKind, Changes, FileChange, FileType
from infra.core.diff_policy import Allowed, Blocked, DiffPolicy, digest, judge


def a_file(path: str, **facts: object) -> FileChange:
    usual = {"kind": ChangeKind.MODIFIED, "type": FileType.FILE, "lines_added": 1, "lines_removed": 0, "binary": False}
    return FileChange(path=path, **usual | facts)


def changes(*files: FileChange) -> Changes:
    return Changes(base_sha="b" * 40, tree_sha="c" * 40, files=files)


def blocked(files, **policy) -> Blocked:
    verdict = judge(changes(*files), DiffPolicy(**policy))
    assert isinstance(verdict, Blocked)
    assert verdict.reason.hint
    return verdict


def test_an_ordinary_change_is_allowed():
    files = [a_file("src/app.py"), a_file("logo.png", binary=True, size=9_000), a_file("old", kind=ChangeKind.DELETED)]
    assert judge(changes(*files), DiffPolicy()) == Allowed()


def test_protected_paths_are_named():
    verdict = blocked([a_file("src/app.py"), a_file(".github/workflows/ci.yml"), a_file("CODEOWNERS")])
    assert verdict.reason.code == "blocked_protected_paths"
    assert verdict.paths == (".github/workflows/ci.yml", "CODEOWNERS")
    assert ".github/workflows/ci.yml, CODEOWNERS" in verdict.reason.message


@pytest.mark.parametrize("kind", list(ChangeKind))
def test_taking_a_protected_file_away_counts_too(kind):
    assert blocked([a_file("CODEOWNERS", kind=kind)]).reason.code == "blocked_protected_paths"


def test_a_project_can_permit_some_protected_paths_and_no_more():
    files = [a_file("CLAUDE.md"), a_file("docs/CLAUDE.md")]
    assert judge(changes(*files), DiffPolicy(permitted=("*CLAUDE.md",))) == Allowed()
    verdict = blocked([*files, a_file(".mcp.json")], permitted=("*CLAUDE.md",))
    assert verdict.paths == (".mcp.json",)


def test_excluded_paths_outrank_permission():
    verdict = blocked([a_file("infra/prod/main.tf"), a_file("CLAUDE.md")], excluded=("infra/prod",), permitted=("*",))
    assert (verdict.reason.code, verdict.paths) == ("blocked_excluded_path", ("infra/prod/main.tf",))


def test_a_submodule_may_go_but_not_come():
    module = a_file("lib", type=FileType.SUBMODULE, kind=ChangeKind.ADDED)
    assert blocked([module]).reason.code == "blocked_submodule"
    assert judge(changes(replace(module, kind=ChangeKind.DELETED)), DiffPolicy()) == Allowed()


@pytest.mark.parametrize(
    ("files", "policy", "code"),
    [
        ([a_file(f"f{number}") for number in range(4)], {"max_files": 3}, "blocked_too_many_files"),
        ([a_file("a", lines_added=6), a_file("b", lines_added=5)], {"max_lines_added": 10}, "blocked_too_large"),
        (
            [a_file("a", size=900, base_size=100), a_file("b", size=201)],
            {"max_bytes_added": 1_000},
            "blocked_too_large",
        ),
        ([a_file("a", size=1_001, base_size=1_000, binary=True)], {"max_bytes_added": 1_000}, "blocked_too_large"),
    ],
)
def test_one_over_a_limit_is_too_much_and_the_limit_itself_is_not(files, policy, code):
    assert blocked(files, **policy).reason.code == code
    ((name, limit),) = policy.items()
    assert judge(changes(*files), DiffPolicy(**{name: limit + 1})) == Allowed()


def test_a_file_that_shrinks_gives_no_room_to_another():
    files = [a_file("a", size=0, base_size=10_000), a_file("b", size=1_001)]
    assert blocked(files, max_bytes_added=1_000).paths[0] == "b"


def test_a_reason_stays_readable_however_many_paths_there_are():
    verdict = blocked([a_file(f".claude/{'x' * 3_000}{number}") for number in range(250)])
    assert len(verdict.reason.message) < 3_000
    assert "and 240 more" in verdict.reason.message
    assert len(verdict.paths) == 250


def test_a_digest_is_bound_to_base_and_content_and_nothing_else():
    one = changes(a_file("a"))
    assert digest(one) == digest(replace(one, set_aside=("x",), files=()))
    assert digest(one) != digest(replace(one, base_sha="d" * 40))
    assert digest(one) != digest(replace(one, tree_sha="d" * 40))
    assert digest(one) != digest(replace(one, base_sha=one.tree_sha, tree_sha=one.base_sha))
    assert len(digest(one)) == 64
