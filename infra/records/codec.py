"""Between frozen domain values and stored JSON: one strict way in both directions."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from infra.core.errors import Unavailable
from infra.core.store import Data, Document

T = TypeVar("T")


def encode(value: Any) -> Data:
    """A domain dataclass as a JSON map."""
    data: dict[str, Any] = msgspec.to_builtins(value)
    return data


def decode(document: Document, kind: type[T]) -> T:
    """The domain value again. Raises ``Unavailable`` (code ``unreadable_document``) when the content does not fit,
    which happens to documents that a newer version wrote; the document is left as it is."""
    try:
        return msgspec.convert(document.data, kind)
    except msgspec.ValidationError as error:
        raise _unreadable(document, error) from error


def decode_text(document: Document, text: str, kind: type[T]) -> T:
    """The value of a JSON text inside the document. Raises as ``decode`` does."""
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise _unreadable(document, error) from error


def _unreadable(document: Document, error: Exception) -> Unavailable:
    return Unavailable(
        f"The stored document {document.path} cannot be read: {error}.",
        code="unreadable_document",
        hint="It was probably written by a newer version; roll forward to that version.",
    )
