"""What an agent should know beside what it is asked: the conversation, review threads, linked items, failing checks, pictures,
and the project's own guidance. Gathered at the claim, bounded here, and – like all that people wrote – data and no orders.

A run is about a moment: what was said or changed after it was asked for is left out, and so is what somebody edited since. Nobody
can slip words in under a request that somebody else has made. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from infra.core.clock import Instant

MOST_SAID = 40
MOST_SAID_CHARS = 40_000
MOST_THREADS = 30
MOST_LINKED = 5
MOST_CHECKS = 10
LINKED_CHARS = 4_000
CHECK_CHARS = 6_000
GUIDANCE_CHARS = 20_000
MOST_PICTURES = 5
PICTURE_BYTES = 3_500_000
"""The model's API takes 5 MB in base64. https://platform.claude.com/docs/en/build-with-claude/vision"""

GUIDANCE = ("CLAUDE.md", "AGENTS.md", ".github/copilot-instructions.md")
"""Read from the base branch; the first that is there."""

_CLOSING = re.compile(r"(?<![\w/#&])#([1-9][0-9]{0,8})\b")
_LONG = re.compile(r"/(?:issues|pull)/([1-9][0-9]{0,8})\b")
_PICTURE = re.compile(r"https://[A-Za-z0-9.:_/-]{8,300}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A comment. ``changed_at``: when it was last edited, else when it was written. ``app``: it is a bot's."""

    id: int
    author: str
    text: str
    written_at: Instant
    changed_at: Instant
    bot: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSaid:
    """A comment on a line of a pull request. ``answers``: id of the comment that opened its thread, 0 for that one itself."""

    said: Said
    path: str
    line: int
    hunk: str
    answers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """An issue or pull request that somebody has pointed to."""

    number: int
    title: str
    state: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedCheck:
    """``report``: what it says about the failure, its end where it is long."""

    name: str
    conclusion: str
    report: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """``name``: of the file below the agent's folder of attachments."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """``pictures``: names of the files. ``missing``: what could not be had, a sentence each."""

    said: tuple[Said, ...] = ()
    threads: tuple[tuple[LineSaid, ...], ...] = ()
    linked: tuple[Linked, ...] = ()
    checks: tuple[FailedCheck, ...] = ()
    pictures: tuple[str, ...] = ()
    guidance: str = ""
    guidance_file: str = ""
    missing: tuple[str, ...] = ()


def known_then(said: Iterable[Said], asked_at: Instant, own: Iterable[int] = (), us: str = "") -> tuple[Said, ...]:
    """What stood there, as it stood, when the run was asked for; without the asks themselves (``own``) and without our own
    reports (``us``: our login). The newest that fit, in the order in which they were written."""
    asks = set(own)
    kept, size = [], 0
    before = [
        each
        for each in said
        if each.id not in asks and each.author != us and each.written_at <= asked_at and each.changed_at <= asked_at
    ]
    for each in sorted(before, key=lambda one: (one.written_at, one.id), reverse=True)[:MOST_SAID]:
        size += len(each.text)
        if size > MOST_SAID_CHARS:
            break
        kept.append(each)
    return tuple(reversed(kept))


def threads_of(lines: Iterable[LineSaid], about: Iterable[int] = ()) -> tuple[tuple[LineSaid, ...], ...]:
    """Line comments by thread, each in the order in which it was written; threads of the comments ``about`` come first."""
    threads: dict[int, list[LineSaid]] = {}
    for line in sorted(lines, key=lambda one: (one.said.written_at, one.said.id)):
        threads.setdefault(line.answers or line.said.id, []).append(line)
    wanted = set(about)
    ordered = sorted(threads.values(), key=lambda thread: not any(line.said.id in wanted for line in thread))
    return tuple(tuple(thread) for thread in ordered[:MOST_THREADS])


def links(texts: Iterable[str], repository_url: str, own: int) -> tuple[int, ...]:
    """Numbers of issues and pull requests of the same repository that the texts point to, in the order of appearance."""
    found: dict[int, None] = {}
    for text in texts:
        for match in _CLOSING.finditer(text):
            found.setdefault(int(match[1]))
        for piece in text.split(repository_url)[1:]:
            if long := _LONG.match(piece):
                found.setdefault(int(long[1]))
    found.pop(own, None)
    return tuple(found)[:MOST_LINKED]


def picture_urls(texts: Iterable[str], hosts: Sequence[str]) -> tuple[str, ...]:
    """Addresses of pictures that people have put into their texts, on the forge's own hosts only."""
    found: dict[str, None] = {}
    for text in texts:
        for match in _PICTURE.finditer(text):
            url = match[0].rstrip(".,:")
            host, _, path = url.removeprefix("https://").partition("/")
            if host in hosts and (host != hosts[0] or "user-attachments/assets/" in path):
                found.setdefault(url)
    return tuple(found)[:MOST_PICTURES]


def attachment_id(url: str) -> str:
    """What stays the same between an attachment's address in a text and the signed one in GitHub's rendering; empty for none."""
    match = _UUID.search(url)
    return match[0] if match else ""


def kind_of_picture(content: bytes) -> str:
    """The ending of a picture's file name by its first bytes; empty for what is no picture that a model takes."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if content.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if content[:6] in {b"GIF87a", b"GIF89a"}:
        return "gif"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "webp"
    return ""


def tail(text: str, characters: int) -> str:
    """The end of a long text: what went wrong stands last."""
    return (
        text if len(text) <= characters else f"… ({len(text) - characters:,} characters before)\n{text[-characters:]}"
    )


def head(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[:characters]}\n… ({len(text) - characters:,} more characters)"
