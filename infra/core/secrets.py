"""The secrets port: named values with versions. Where they may live is design, not convenience: only the control
plane holds a ``Secrets``; runners get what they need for one run through the gateway."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from infra.core.errors import Invalid, TooLarge

MAX_SECRET_BYTES = 65_536
"""Secret Manager's limit for one version. https://cloud.google.com/secret-manager/quotas"""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,254}")


def check_secret_name(name: str) -> str:
    """Raises ``Invalid`` unless the name fits Secret Manager: letters, digits, dashes, underscores, ≤ 255."""
    if _NAME.fullmatch(name) is None:
        raise Invalid(f"{name!r} is not a secret name.", code="invalid_secret_name")
    return name


def check_secret_value(value: bytes) -> bytes:
    """Raises ``Invalid`` for an empty value, which Secret Manager does not keep, ``TooLarge`` over its limit."""
    if not value:
        raise Invalid("A secret cannot be empty.", code="empty_secret", hint="Delete it instead.")
    if len(value) > MAX_SECRET_BYTES:
        raise TooLarge(f"The secret has {len(value)} bytes; {MAX_SECRET_BYTES} are allowed.", code="secret_too_large")
    return value


@dataclass(frozen=True, slots=True)
class Secret:
    """A value and its version (1, 2, 3 … per name). The value never appears in ``repr``."""

    name: str
    version: int
    value: bytes

    def __repr__(self) -> str:
        return f"Secret(name={self.name!r}, version={self.version})"

    @property
    def text(self) -> str:
        return self.value.decode()


class Secrets(Protocol):
    async def get(self, name: str) -> Secret | None:
        """The newest enabled version, None when the secret does not exist.

        Raises ``Unavailable`` when the store did not answer, ``Forbidden`` (with the role to grant) without access.
        """
        ...

    async def versions(self, name: str, limit: int = 2) -> tuple[Secret, ...]:
        """Newest first: during a rotation the old value stays valid beside the new one."""
        ...

    async def put(self, name: str, value: bytes) -> int:
        """Adds a version and returns its number. Raises ``TooLarge`` over ``MAX_SECRET_BYTES``, ``Invalid`` when empty."""
        ...

    async def delete(self, name: str) -> None:
        """Forgets all versions; absent is fine."""
        ...

    async def close(self) -> None: ...
