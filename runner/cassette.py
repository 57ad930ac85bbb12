"""A run's conversation with the model as a file: what was asked (reduced), what was answered (chunk by chunk), what came of it.

JSON lines, gzipped: a ``Header``, a ``Recorded`` for each exchange in the order of asking, an ``Ending``. Holds no secret: every
text has passed the run's redactor as decoded text, and requests are kept only as far as they are compared.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from infra.core.changes import Changes
from infra.core.clock import Instant
from infra.core.errors import Invalid
from infra.core.price import Tokens
from infra.core.redaction import Redactor
from infra.core.run import Limits
from infra.wire import Assignment, Strict
from runner.answer_text import Masking, rewritten
from runner.asked import Asked
from runner.exchange import Entry
from runner.recorder import Ended, Recorder, Take

NAME = "cassette.jsonl.gz"
VERSION = 1
UNCHANGED = "unchanged"

_MOST_UNPACKED = 96 * 1024 * 1024
_MOST_FILES = 2_000

T = TypeVar("T")


class Header(Strict, frozen=True, kw_only=True):
    """The task, as the agent got it. ``places``: the run's folders, whose paths the model's answers hold. ``agent``: which
    program spoke to the model."""

    cassette: int
    run_id: str
    owner: str
    repo: str
    base_sha: str
    branch: str
    model: str
    prompt: str
    limits: Limits
    allowed_domains: tuple[str, ...]
    allowed_models: tuple[str, ...]
    surcharge_percent: int
    agent: str
    recorded_at: Instant
    places: dict[str, str]


class Chunk(Strict, frozen=True, kw_only=True, array_like=True):
    """``at``: milliseconds since the question."""

    at: int
    text: str


class Recorded(Strict, frozen=True, kw_only=True):
    """One exchange. ``status`` 0: the model's server could not be reached. ``complete`` False: only the beginning was kept."""

    asked: Asked
    status: int
    headers: dict[str, str]
    chunks: tuple[Chunk, ...]
    ended: Ended
    complete: bool


class ChangedFile(Strict, frozen=True, kw_only=True, array_like=True):
    """``blob``: git's name for the content, empty for none."""

    kind: str
    path: str
    blob: str


class Spent(Strict, frozen=True, kw_only=True):
    """One line of the ledger, without what differs from run to run."""

    model: str
    status: int
    tokens: Tokens
    micros: int
    counted: str


class Ending(Strict, frozen=True, kw_only=True):
    """What came of it. ``failure``: why the agent failed, empty when it did not. ``tree``: git's name for all files together,
    ``UNCHANGED`` when they are those of the base, empty when they were not collected. ``masked``: answers in which something was masked. ``truncated``: exchanges are missing."""

    failure: str
    tree: str
    files: tuple[ChangedFile, ...]
    spent: tuple[Spent, ...]
    masked: int
    truncated: bool


class Cassette(msgspec.Struct, frozen=True, kw_only=True):
    header: Header
    exchanges: tuple[Recorded, ...]
    ending: Ending


def header_of(
    assignment: Assignment,
    *,
    redactor: Redactor,
    allowed_models: Sequence[str],
    surcharge_percent: int,
    agent: str,
    at: Instant,
    places: dict[str, str],
) -> Header:
    return Header(
        cassette=VERSION,
        run_id=assignment.run_id,
        owner=assignment.owner,
        repo=assignment.repo,
        base_sha=assignment.base_sha,
        branch=assignment.branch,
        model=assignment.model,
        prompt=redactor.text(assignment.prompt),
        limits=assignment.limits,
        allowed_domains=assignment.allowed_domains,
        allowed_models=tuple(allowed_models),
        surcharge_percent=surcharge_percent,
        agent=agent,
        recorded_at=at,
        places=places,
    )


def spent_of(entries: Sequence[Entry]) -> tuple[Spent, ...]:
    return tuple(
        Spent(model=each.model, status=each.status, tokens=each.tokens, micros=each.micros, counted=each.counted)
        for each in entries
    )


def files_of(changes: Changes | None, redactor: Redactor) -> tuple[ChangedFile, ...]:
    files = changes.files[:_MOST_FILES] if changes else ()
    return tuple(ChangedFile(kind=file.kind, path=redactor.text(file.path), blob=file.blob) for file in files)


def pack(
    header: Header,
    recorder: Recorder,
    *,
    redactor: Redactor,
    failure: str,
    tree: str,
    files: tuple[ChangedFile, ...],
    spent: tuple[Spent, ...],
) -> bytes:
    """The whole file. Takes its time for a long run (every byte is searched for secrets): not for the event loop."""
    exchanges = [_recorded(take, redactor) for take in recorder.takes]
    ending = Ending(
        failure=failure,
        tree=tree,
        files=files,
        spent=spent,
        masked=sum(masked for _, masked in exchanges),
        truncated=recorder.truncated,
    )
    lines = [header, *(exchange for exchange, _ in exchanges), ending]
    return gzip.compress(b"".join(msgspec.json.encode(line) + b"\n" for line in lines), mtime=0)


def _recorded(take: Take, redactor: Redactor) -> tuple[Recorded, bool]:
    stream = take.headers.get("content-type", "").startswith("text/event-stream")
    before = [chunk for _, chunk in take.chunks]
    after = rewritten(before, Masking(redactor), stream=stream)
    masked = after != before
    times = [at for at, _ in take.chunks]
    news = tuple(_text(redactor.text(text)) for text in take.asked.news)
    exchange = Recorded(
        asked=msgspec.structs.replace(take.asked, news=news),
        status=take.status,
        headers={name: redactor.text(value) for name, value in take.headers.items()},
        chunks=tuple(
            Chunk(at=times[min(number, len(times) - 1)], text=text) for number, text in enumerate(_texts(after))
        ),
        ended=take.ended,
        complete=take.complete,
    )
    return exchange, masked


def _texts(chunks: Sequence[bytes]) -> list[str]:
    """A character that is cut by the border of two chunks goes with the second."""
    texts, rest = [], b""
    for number, chunk in enumerate(chunks):
        data = rest + chunk
        cut = len(data) if number == len(chunks) - 1 else _whole_characters(data)
        texts.append(data[:cut].decode("utf-8", "replace"))
        rest = data[cut:]
    return texts


def _whole_characters(data: bytes) -> int:
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if byte & 0xC0 == 0xC0:  # first of several
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) if back >= length else len(data) - back
        if byte < 0x80:
            break
    return len(data)


def _text(text: str) -> str:
    """JSON can carry half of a character, UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


def unpack(content: bytes) -> Cassette:
    """Raises ``Invalid`` for what is no cassette of this version, or is not whole."""
    lines = _unzipped(content).split(b"\n")[:-1]
    if len(lines) < 2:
        raise _broken("it has no beginning or no end")
    version = _line(lines[0], _Version).cassette
    if version != VERSION:
        raise _broken(f"it has version {version}, and this program reads version {VERSION}")
    return Cassette(
        header=_line(lines[0], Header),
        exchanges=tuple(_line(line, Recorded) for line in lines[1:-1]),
        ending=_line(lines[-1], Ending),
    )


class _Version(msgspec.Struct, frozen=True):
    cassette: int


def _line(line: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _broken(str(error)) from None


def _unzipped(content: bytes) -> bytes:
    unpacking: Any = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        data: bytes = unpacking.decompress(content, _MOST_UNPACKED)
    except zlib.error as error:
        raise _broken(f"it is not gzip ({error})") from None
    if unpacking.unconsumed_tail or not unpacking.eof:
        raise _broken("it is cut short, or larger than any recording")
    return data


def _broken(why: str) -> Invalid:
    return Invalid(
        f"The cassette cannot be read: {why}.",
        code="cassette_broken",
        hint="Record the run again (RECORD_CASSETTES=true), or use the version of Pullwright that recorded it.",
    )
