"""One file of a repository, as GitHub's contents API gives it. https://docs.github.com/en/rest/repos/contents"""

from __future__ import annotations

import base64
import binascii
from typing import Literal
from urllib.parse import quote

import msgspec

from infra.core.errors import Invalid
from infra.core.repository import Repository, parse_ref
from infra.github.protocol import Call
from infra.github.shapes import Shape

_NO_FILE = frozenset({404, 409, 410, 422, 451})


class FileShape(Shape, frozen=True, kw_only=True):
    """``encoding`` is ``none`` for files over a megabyte, whose content GitHub leaves out here."""

    type: Literal["file", "symlink", "submodule", "dir"]
    size: int
    encoding: str = ""
    content: str = ""


_shape = msgspec.json.Decoder(FileShape | list[msgspec.Raw]).decode


def file(repository: Repository, path: str, ref: str) -> Call[bytes]:
    """The content at ``path``, which is ours and no user's, on the default branch when no ref is named. ``Invalid`` when it is no plain file of at most a megabyte."""
    return Call(
        method="GET",
        path=f"/repos/{quote(repository.owner, safe='')}/{quote(repository.name, safe='')}/contents/{quote(path)}",
        params={"ref": parse_ref(ref)} if ref else {},
        about=f"the file {path} of {repository}",
        read=lambda body: _content(body, path),
        absent=_NO_FILE,
    )


def _content(body: bytes, path: str) -> bytes:
    shape = _shape(body)
    if isinstance(shape, list) or shape.type != "file":
        raise Invalid(f"{path} is no plain file.", code="not_a_file", hint="Replace it by a plain file.")
    if shape.encoding != "base64":
        raise Invalid(f"{path} has {shape.size:,} bytes, which is too much.", code="file_too_large")
    try:
        return base64.b64decode(shape.content)
    except binascii.Error as error:
        raise msgspec.ValidationError("its content is not base64") from error
