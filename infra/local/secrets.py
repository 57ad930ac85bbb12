"""Secrets as encrypted files: one key file, one folder per name, one file per version.

    ROOT/key                 32 random bytes, mode 0600, made at first use
    ROOT/values/NAME/3       "PWS1" + nonce + AES-256-GCM(value); name and version are authenticated with it

A version's file is created whole and never changed; so writers on several threads or processes need no lock, and two of
them cannot get the same number. A file that was changed, cut short or put under another name fails authentication.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
import stat
import threading
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from infra.core.errors import Unavailable
from infra.core.ids import Entropy, new_token
from infra.core.secrets import MAX_SECRET_BYTES, Secret, check_secret_name, check_secret_value
from infra.local.durable import create_whole, disk_troubles, make_private, read_whole, sync_folder

_KEY_BYTES = 32
_MAGIC = b"PWS1"
_NONCE_BYTES = 12  # what NIST SP 800-38D asks for; random ones are safe for 2^32 writes under one key
_TAG_BYTES = 16
_MAX_FILE_BYTES = len(_MAGIC) + _NONCE_BYTES + MAX_SECRET_BYTES + _TAG_BYTES
_PLAIN_FOLDER_NAME = 200
_FORGOTTEN = ".forgotten-"


class FileSecrets:
    """``Secrets`` in a folder of this machine. Whoever can read the key file can read the secrets."""

    def __init__(self, root: Path, *, entropy: Entropy) -> None:
        self._root = root
        self._values = root / "values"
        self._entropy = entropy
        self._cipher: AESGCM | None = None
        self._opening = threading.Lock()

    async def get(self, name: str) -> Secret | None:
        newest = await self.versions(name, limit=1)
        return newest[0] if newest else None

    async def versions(self, name: str, limit: int = 2) -> tuple[Secret, ...]:
        """Raises ``Unavailable`` (``secret_corrupt``) when one of the asked versions cannot be trusted: an older value is
        never passed off as the newest."""
        check_secret_name(name)
        return await asyncio.to_thread(self._read, name, limit)

    async def put(self, name: str, value: bytes) -> int:
        check_secret_name(name)
        check_secret_value(value)
        return await asyncio.to_thread(self._add, name, value)

    async def delete(self, name: str) -> None:
        check_secret_name(name)
        await asyncio.to_thread(self._forget, name)

    async def close(self) -> None:
        self._cipher = None

    # Everything below runs in worker threads: a slow disk must not stop the event loop.

    def _read(self, name: str, limit: int) -> tuple[Secret, ...]:
        with disk_troubles("secrets", self._root):
            numbers = _numbers(self._folder(name))[: max(limit, 0)]
            found = [self._open_version(name, number) for number in numbers]
        return tuple(secret for secret in found if secret is not None)

    def _add(self, name: str, value: bytes) -> int:
        folder = self._folder(name)
        with disk_troubles("secrets", self._root):
            cipher = self._ready()
            while True:
                make_private(folder)
                number = max(_numbers(folder), default=0) + 1
                nonce = self._entropy(_NONCE_BYTES)
                sealed = _MAGIC + nonce + cipher.encrypt(nonce, value, _label(name, number))
                try:
                    create_whole(folder / str(number), sealed)
                except (FileExistsError, FileNotFoundError):
                    continue  # another writer took the number, or a delete took the folder: look again
                if number == 1:
                    sync_folder(self._values)
                    sync_folder(self._root)
                return number

    def _open_version(self, name: str, number: int) -> Secret | None:
        path = self._folder(name) / str(number)
        try:
            sealed = read_whole(path, _MAX_FILE_BYTES)
        except FileNotFoundError:
            return None  # deleted since the folder was listed
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            sealed = b""  # a link, folder or pipe in place of the file
        body = sealed.removeprefix(_MAGIC)
        if len(body) + len(_MAGIC) != len(sealed) or len(body) < _NONCE_BYTES + _TAG_BYTES:
            raise _corrupt(name, number, path)
        nonce, ciphertext = body[:_NONCE_BYTES], body[_NONCE_BYTES:]
        try:
            value = self._ready().decrypt(nonce, ciphertext, _label(name, number))
        except InvalidTag:
            raise _corrupt(name, number, path) from None
        return Secret(name=name, version=number, value=value)

    def _forget(self, name: str) -> None:
        """One rename hides all versions at once, so no crash can bring an older one back."""
        with disk_troubles("secrets", self._root):
            grave = self._values / f"{_FORGOTTEN}{new_token(self._entropy, 16)}"
            with suppress(FileNotFoundError):
                self._folder(name).rename(grave)
                sync_folder(self._values)
            for leftover in self._values.glob(f"{_FORGOTTEN}*"):  # also what a crash or an error left: tried each time
                shutil.rmtree(leftover, ignore_errors=True)

    def _folder(self, name: str) -> Path:
        """File systems of laptops may ignore case and stop at 255 bytes; names of secrets do neither."""
        if name == name.lower() and len(name) <= _PLAIN_FOLDER_NAME:
            return self._values / name
        return self._values / f"{name[:100].lower()}.{hashlib.sha256(name.encode()).hexdigest()[:32]}"

    def _ready(self) -> AESGCM:
        with self._opening:
            if self._cipher is None:
                self._cipher = AESGCM(self._key())
            return self._cipher

    def _key(self) -> bytes:
        path = self._root / "key"
        in_use = self._values.exists() and any(self._values.iterdir())  # asked first: no value is older than its key
        if not os.path.lexists(path):
            if in_use:
                raise Unavailable(
                    f"The key file {path} is gone, so the secrets beside it cannot be read.",
                    code="secret_key_missing",
                    hint=f"Restore the key file, or remove {self._values} and store the secrets anew.",
                )
            make_private(self._root)
            with suppress(FileExistsError):  # another process was first; its key is the key
                create_whole(path, self._entropy(_KEY_BYTES))
        return _read_key(path)


def _read_key(path: Path) -> bytes:
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise _key_refused(f"{path} is not a regular file", "Put the key file itself there, not a link.")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise _key_refused(f"others may open {path}", f"Run: chmod 600 {path}")
    key = read_whole(path, _KEY_BYTES)
    if len(key) != _KEY_BYTES:
        raise _key_refused(
            f"{path} is half-written: it must have exactly {_KEY_BYTES} bytes",
            "Restore it from a copy; without one, remove the folder and store the secrets anew.",
        )
    return key


def _key_refused(why: str, hint: str) -> Unavailable:
    return Unavailable(f"The secrets' key is not used, because {why}.", code="secret_key_refused", hint=hint)


def _corrupt(name: str, number: int, path: Path) -> Unavailable:
    return Unavailable(
        f"Version {number} of the secret {name} was changed or damaged on the disk.",
        code="secret_corrupt",
        hint=f"Find out who wrote to {path}. Then remove that file, or restore it together with the key file, and store "
        f"{name} again.",
    )


def _label(name: str, number: int) -> bytes:
    return f"pullwright/secret/1\n{name}\n{number}".encode()


def _numbers(folder: Path) -> list[int]:
    """The versions there are, newest first."""
    try:
        entries = [entry.name for entry in folder.iterdir()]
    except FileNotFoundError:
        return []
    return sorted((int(entry) for entry in entries if entry.isascii() and entry.isdigit()), reverse=True)
