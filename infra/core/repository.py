"""Repository names and git refs, accepted by grammar and never by guess.

Everything that later becomes part of a URL, a path or an argument list passes here first, so that no name
with ``..``, a leading dash, a control character or a space gets further than the door.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from infra.core.errors import Invalid

# GitHub: owners are 1–39 alphanumerics and dashes, and an underscore before the short code of an enterprise's managed users;
# repositories 1–100 of letters, digits, dot, dash, underscore. The limits are those that its forms enforce.
# https://docs.github.com/en/enterprise-cloud@latest/admin/managing-iam/iam-configuration-reference/username-considerations-for-external-authentication
_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,38}")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_REF_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//")
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Repository:
    """``owner/name`` on the forge."""

    owner: str
    name: str

    def __str__(self) -> str:
        return f"{self.owner}/{self.name}"


def parse_repository(owner: str, name: str) -> Repository:
    """Raises ``Invalid`` unless both parts are names that GitHub itself would allow."""
    if _OWNER.fullmatch(owner) is None:
        raise Invalid(
            "The owner is not a GitHub account name.",
            code="invalid_owner",
            hint="Letters, digits, dashes and underscores, at most 39 characters.",
        )
    if _NAME.fullmatch(name) is None or name in {".", ".."} or name.lower().endswith(".git"):
        raise Invalid(
            "The repo is not a GitHub repository name.",
            code="invalid_repo",
            hint="Letters, digits, dots, dashes and underscores, at most 100 characters, without the .git ending.",
        )
    return Repository(owner=owner, name=name)


def parse_full_name(full_name: str) -> Repository:
    """``"owner/name"`` → Repository; raises ``Invalid``."""
    owner, _, name = full_name.partition("/")
    return parse_repository(owner, name)


def parse_ref(ref: str) -> str:
    """A branch, tag or full ref name by the rules of git-check-ref-format, or a full commit SHA.

    ``refs/heads/x`` is shortened to ``x``. Raises ``Invalid``. https://git-scm.com/docs/git-check-ref-format
    """
    short = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
    parts = short.split("/")
    broken = (
        not short
        or len(short) > 255
        or short.startswith(("-", "/"))
        or short.endswith(("/", ".", ".lock"))
        or short == "@"
        or _REF_FORBIDDEN.search(short) is not None
        or any(not part or part.startswith(".") or part.endswith(".lock") for part in parts)
        or not short.isprintable()
    )
    if broken:
        raise Invalid(
            "The ref is not a branch or tag name.",
            code="invalid_ref",
            hint="Give a branch name such as main, or leave ref out for the default branch.",
        )
    return short


def is_sha(text: str) -> bool:
    """A full object name, SHA-1 or SHA-256."""
    return _SHA.fullmatch(text) is not None
