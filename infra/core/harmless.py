"""Text that strangers or a model wrote, made fit to be published: it reads the same and does nothing. Pure.

No image that loads, no HTML, no link, no notification, no closed issue, no skipped check, no forged marker.
"""

from __future__ import annotations

import re
import unicodedata

SUMMARY_CHARS = 16_000
"""GitHub takes bodies of 65,536 characters; quoting and defusing at most triples a text."""

BREAK = "\u200b"  # zero-width space: invisible, and no syntax reaches across it

# GitHub skips all checks for these words in a commit message.
# https://docs.github.com/en/actions/how-tos/manage-workflow-runs/skip-workflow-runs
SKIPS_CHECKS = re.compile(r"\[\s*(skip ci|ci skip|no ci|skip actions|actions skip)\s*\]", re.IGNORECASE)
_ACTS = re.compile(
    r"<(?=[A-Za-z/!?])"  # HTML, comments, <https://…>
    r"|&(?=#|[A-Za-z][A-Za-z0-9]*;)"  # entities, which turn into any of these after parsing
    r"|@(?=[A-Za-z0-9])"  # mentions notify people
    r"|#(?=\d)|GH-(?=\d)"  # references appear in other issues, and close them after "fixes"
    r"|\](?=[(\[:])"  # links and images, inline, by reference and their definitions
    r"|https?:(?=//)|www\.|ftp:(?=//)",  # bare addresses become links
    re.IGNORECASE,
)
_FENCE = re.compile(r"^ {0,3}(?:(?P<ticks>`{3,})(?P<info>[^`]*)|(?P<tildes>~{3,})(?P<note>.*))$")
_LANGUAGE = re.compile(r"(?!(?:mermaid|math|geojson|topojson|stl)$)[a-z0-9+#._-]{1,30}", re.IGNORECASE)  # these render
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_VARIATION = re.compile(r"[\ufe00-\ufe0d\U000e0100-\U000e01ef]")  # can carry hidden bytes; emoji use only FE0E and FE0F


def quoted(text: str) -> str:
    """Untrusted Markdown as a quotation that reads the same and does nothing. Empty for empty text.

    Code blocks are written anew with a fence of our own, so what counts as code here is code for GitHub too.
    """
    lines: list[str] = []
    fence = ""
    block: list[str] = []
    text = SKIPS_CHECKS.sub(r"(\1)", plain(text).strip())  # a squash merge may make the body a commit message
    for line in shortened(text, SUMMARY_CHARS).split("\n"):
        mark, info = _fence(line)
        if not fence and mark:
            fence, block = mark, [info]
        elif fence and mark.startswith(fence) and not info:
            lines += _code_block(lines, block)
            fence = ""
        elif fence:
            block.append(line)
        else:
            lines.append(_ACTS.sub(lambda found: found[0] + BREAK, line))
    if fence:
        lines += _code_block(lines, block)
    return "\n".join(f"> {line}".rstrip() for line in lines) if any(lines) else ""


def _fence(line: str) -> tuple[str, str]:
    """The run of backticks or tildes that a line opens or closes a block with, and what follows it; empty for other lines."""
    found = _FENCE.match(line)
    if found is None:
        return "", ""
    return found["ticks"] or found["tildes"], (found["info"] or found["note"] or "").strip()


def _code_block(before: list[str], block: list[str]) -> list[str]:
    info, *code = block
    apart = [""] if before and before[-1] else []
    return [*apart, *fenced("\n".join(code), info).split("\n")]


def fenced(text: str, language: str = "") -> str:
    """Text as a code block whose fence the text does not contain. ``language``: left out where it would make GitHub draw."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    shown = text.replace("<!--", f"<{BREAK}!--")
    return "\n".join([fence + (language if _LANGUAGE.fullmatch(language) else ""), shown, fence])


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def as_code(text: str) -> str:
    """Any text as inline code on one line of bounded length, whatever backticks it holds."""
    line = shortened(" ".join(plain(text[:1_000]).split()), 200) or "?"
    longest = max((len(run) for run in re.findall(r"`+", line)), default=0)
    tick = "`" * (longest + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{tick}{pad}{line.replace('<!--', f'<{BREAK}!--')}{pad}{tick}"


def as_line(text: str) -> str:
    """Any text as one harmless line of at most 500 characters."""
    return _ACTS.sub(lambda found: found[0] + BREAK, shortened(" ".join(plain(text).split()), 500))


def as_name(text: str) -> str:
    """A name that cannot end the angle brackets of an e-mail address."""
    return " ".join(re.sub(r"[<>]", "", plain(text)).split()) or "unknown"


def shortened(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1].rstrip() + "…"


def plain(text: str) -> str:
    """Without control, formatting (invisible, bidirectional), private-use and broken characters; newlines and tabs stay."""
    unified = re.sub(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]", "\n", text)
    return "".join(
        character
        for character in _VARIATION.sub("", unified)
        if character in "\n\t" or unicodedata.category(character) not in _INVISIBLE
    )
