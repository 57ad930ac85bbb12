"""Every stored byte below a folder, searched for secrets in all encodings: files as they are, and what is packed inside of them."""

import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

from infra.core.encodings import ENCODINGS


def forms_of(secrets: dict[str, str]) -> dict[bytes, str]:
    """Each form → whose it is, and which."""
    return {
        form.encode(): f"{name} ({encoding.name})"
        for name, value in secrets.items()
        for encoding in ENCODINGS
        for form in encoding.forms(value)
    }


def hits(data: bytes, forms: dict[bytes, str]) -> list[str]:
    return sorted({whose for form, whose in forms.items() if form in data})


def stored(folder: Path, *, skip: tuple[Path, ...] = ()) -> Iterator[tuple[str, bytes]]:
    """What there is: each file, what git and gzip packed, and each name."""
    for path in sorted(folder.rglob("*")):
        if any(path.is_relative_to(each) for each in skip):
            continue
        yield f"the name {path}", str(path.relative_to(folder)).encode()
        if path.is_symlink():
            yield f"the link {path}", str(path.readlink()).encode()
        elif path.is_file():
            data = path.read_bytes()
            yield str(path), data
            yield from ((f"inside {path}", inner) for inner in _unpacked(data))
        if path.is_dir() and (path / "objects").is_dir() and (path / "HEAD").is_file():
            yield f"objects of {path}", _git_objects(path)


def _unpacked(data: bytes) -> Iterator[bytes]:
    if data[:2] == b"\x1f\x8b" or data[:1] == b"\x78":
        try:  # something else may follow what is packed
            yield zlib.decompressobj(wbits=47).decompress(data)
        except zlib.error:
            return


def _git_objects(repository: Path) -> bytes:
    """All objects of a repository, those that no branch reaches too, and its refs."""
    git = ["git", "-C", str(repository), "-c", "safe.directory=*"]
    objects = subprocess.run([*git, "cat-file", "--batch-all-objects", "--batch"], capture_output=True, check=True)
    refs = subprocess.run([*git, "for-each-ref"], capture_output=True, check=True)
    return objects.stdout + refs.stdout
