"""Secrets of one project: what people call them, and what they are called in the store."""

from __future__ import annotations

import hashlib
import re

from infra.core.errors import Invalid
from infra.core.repository import Repository

_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,99}")


def check_name(name: str) -> str:
    """A project secret's name as ``${NAME}`` takes it. Raises ``Invalid``."""
    if _NAME.fullmatch(name) is None:
        raise Invalid(
            "That is not a name for a secret.",
            code="invalid_secret_name",
            hint="Capital letters, digits and underscores, such as GITHUB_TOKEN.",
        )
    return name


def stored_name(repository: Repository, name: str) -> str:
    """The name in the store: readable, unique for each repository, and within what every store takes.

    GitHub's names differ in more than letters and case does not count in them, so the digest makes the name unique.
    """
    full = str(repository).lower()
    digest = hashlib.sha256(full.encode()).hexdigest()[:16]
    readable = re.sub(r"[^a-z0-9]+", "-", full)[:80]
    return f"project-{readable}-{digest}_{check_name(name)}"
