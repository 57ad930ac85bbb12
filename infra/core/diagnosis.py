"""What a doctor found: one finding for each thing looked at, with what to type where something is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    FINE = "fine"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """``topic``: what was looked at; ``message``: one sentence; ``commands``: what to type next, in order."""

    topic: str
    verdict: Verdict
    message: str
    commands: tuple[str, ...] = ()


def fine(topic: str, message: str) -> Finding:
    return Finding(topic=topic, verdict=Verdict.FINE, message=message)


def wrong(topic: str, message: str, *commands: str) -> Finding:
    return Finding(topic=topic, verdict=Verdict.WRONG, message=message, commands=commands)


def unknown(topic: str, message: str, *commands: str) -> Finding:
    return Finding(topic=topic, verdict=Verdict.UNKNOWN, message=message, commands=commands)
