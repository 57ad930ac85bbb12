"""A comment that speaks to us: ``@claude …`` anywhere, or ``/claude …`` at the start of a line, with options. Pure.

Only what a reader sees counts: not code, not a quotation of somebody else's words, not hidden text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from infra.core.errors import Invalid

OPTIONS = ("model", "budget", "turns")

_QUOTE = re.compile(r"(?m)^[ \t]{0,3}(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*>.*$")
_OPTION = re.compile(r"[ \t]+(?:--)?([a-z]{2,20})=(\S{1,100})")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.@:_-]{0,99}")
_AMOUNT = re.compile(r"\$?(\d{1,4}(?:\.\d{1,2})?)(?:usd)?", re.IGNORECASE)
_TURNS = re.compile(r"[1-9]\d{0,3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a mention asks for beyond its text; empty and 0 mean: nothing said."""

    model: str = ""
    budget_micros: int = 0
    max_turns: int = 0


def mentioned(text: str, handle: str) -> Options | None:
    """The options behind the first ``@handle`` in ``text``, None when nobody is spoken to.

    Raises ``Invalid`` (``invalid_mention``) for an option that is unknown or does not fit.
    """
    if f"@{handle}".lower() not in text.lower():
        return None  # nearly every comment ends here
    return _heard(text, _mention(handle))


def commanded(text: str, command: str) -> Options | None:
    """The same for ``/command`` at the start of a line."""
    if f"/{command}".lower() not in text.lower():
        return None
    return _heard(text, _command(command))


@cache
def _mention(handle: str) -> re.Pattern[str]:
    # as GitHub links them: not inside a word, an address or a longer name
    return re.compile(rf"(?<![\w@/`.+-])@{re.escape(handle)}(?![A-Za-z0-9_-]|\.\w|/)", re.IGNORECASE)


@cache
def _command(command: str) -> re.Pattern[str]:
    return re.compile(rf"(?m)^[ \t]{{0,3}}/{re.escape(command)}(?![\w/.-])", re.IGNORECASE)


def _heard(text: str, pattern: re.Pattern[str]) -> Options | None:
    spoken = _spoken(text)
    found = pattern.search(spoken)
    return _options(spoken, found.end()) if found else None


def _spoken(text: str) -> str:
    """What the writer says in their own visible words. Code becomes a blank, so that nothing grows together."""
    # 25 ms of patterns to compile: only what speaks to us pays for them
    from infra.core.code_spans import SENTINEL, TOKEN, mark_code
    from infra.core.hygiene import clean

    visible = clean(text).text.replace(SENTINEL, "")
    return _QUOTE.sub("", TOKEN.sub(" ", mark_code(visible).text))


def _options(text: str, position: int) -> Options:
    """``name=value`` pairs directly behind the mention; the first other word ends them."""
    given: dict[str, str] = {}
    while option := _OPTION.match(text, position):
        given[option[1]] = option[2]
        position = option.end()
    unknown = [name for name in given if name not in OPTIONS]
    if unknown:
        raise _misfit(f"{unknown[0]} is not an option", f"Options are {', '.join(OPTIONS)}, as in model=NAME.")
    return Options(
        model=_model(given.get("model", "")),
        budget_micros=_budget(given.get("budget", "")),
        max_turns=_turns(given.get("turns", "")),
    )


def _model(text: str) -> str:
    if text and _MODEL.fullmatch(text) is None:
        raise _misfit("the model's name has characters that no model has", "Write model=NAME.")
    return text


def _budget(text: str) -> int:
    if not text:
        return 0
    amount = _AMOUNT.fullmatch(text)
    micros = round(float(amount[1]) * 1_000_000) if amount else 0
    if not micros:
        raise _misfit("the budget is no amount of dollars", "Write budget=2 or budget=0.50.")
    return micros


def _turns(text: str) -> int:
    if not text:
        return 0
    if _TURNS.fullmatch(text) is None:
        raise _misfit("turns is not a whole number", "Write turns=50.")
    return int(text)


def _misfit(what: str, hint: str) -> Invalid:
    return Invalid(f"The mention could not be understood: {what}.", code="invalid_mention", hint=hint)
