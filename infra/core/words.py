"""Every sentence that is published in a repository: title, commit message and body of a pull request. Pure.

The agent's summary and the task's title were written by a model and by strangers. They may look as they like but may not
*act*: no image that loads, no HTML, no link, no notification, no closed issue, no skipped check, no forged marker.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from infra.core.changes import ChangeKind, Changes, FileChange
from infra.core.errors import Invalid
from infra.core.ids import RunId, parse_run_id
from infra.core.run import Usage

TITLE_CHARS = 72
SUMMARY_CHARS = 16_000
"""GitHub takes bodies of 65,536 characters; quoting and defusing at most triples a text."""
LISTED_FILES = 20

RUN_TRAILER = "Pullwright-Run"

_UNTITLED = "Changes by Claude"
_MARKER = re.compile(r"<!-- pullwright:run=(run-[0-9a-z]{26}) -->")
_BREAK = "\u200b"  # zero-width space: invisible, and no syntax reaches across it

# GitHub skips all checks for these words in a commit message.
# https://docs.github.com/en/actions/how-tos/manage-workflow-runs/skip-workflow-runs
_SKIPS_CHECKS = re.compile(r"\[\s*(skip ci|ci skip|no ci|skip actions|actions skip)\s*\]", re.IGNORECASE)
# git rebase --autosquash acts on these first words. https://git-scm.com/docs/git-rebase#Documentation/git-rebase.txt---autosquash
_AUTOSQUASH = re.compile(r"^((fixup|squash|amend)!\s*)+", re.IGNORECASE)
_ODD_START = re.compile(r"^[^\w\[(\"'`«“„‘.]+|^\.+(?!\w)")

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


@dataclass(frozen=True, slots=True, kw_only=True)
class CoAuthor:
    """A person named in a ``Co-authored-by`` trailer."""

    name: str
    email: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PullFacts:
    """What a pull request says about its run. ``seconds``: how long the run took. ``closes``: issue number, 0 for none.

    ``notices``: what reviewers should know about the task, one line each.
    """

    run_id: RunId
    run_url: str
    summary: str
    changes: Changes
    model: str
    usage: Usage
    seconds: float
    requested_by: str
    closes: int = 0
    rehearsal: bool = False
    notices: tuple[str, ...] = ()


def pull_title(task_title: str) -> str:
    """One printable line of at most 72 characters that starts with a word, a quotation or a bracket."""
    line = " ".join(_plain(task_title).split())
    line = _SKIPS_CHECKS.sub(r"(\1)", line)
    before = None
    while before != line:
        before, line = line, _ODD_START.sub("", _AUTOSQUASH.sub("", line)).strip()
    return _shortened(line, TITLE_CHARS) or _UNTITLED


def commit_message(task_title: str, run_id: RunId, co_author: CoAuthor | None = None) -> str:
    """Subject and trailers. No text of the agent: what it says belongs to the pull request, where it can be quoted."""
    trailers = [f"{RUN_TRAILER}: {run_id}"]
    if co_author is not None:
        trailers.append(f"Co-authored-by: {_name(co_author.name)} <{_name(co_author.email)}>")
    return "\n".join([pull_title(task_title), "", *trailers, ""])


def names_run(message: str, run_id: RunId) -> bool:
    """True when a commit message carries this run's trailer in its last paragraph."""
    return f"{RUN_TRAILER}: {run_id}" in message.rstrip().split("\n\n")[-1].split("\n")


def pull_body(facts: PullFacts) -> str:
    """The pull request's description; its last line is the marker of the run."""
    sections = [
        quoted(facts.summary) or "> The agent left no summary.",
        f"### What changed\n\n{_changed(facts.changes)}",
        f"### How it was run\n\n{_how(facts)}",
    ]
    sections += [f"**Note:** {_line(told)}" for told in facts.notices]
    if facts.closes:
        sections.append(f"Closes #{facts.closes}")
    who = f" for {_code(facts.requested_by)}" if facts.requested_by else ""
    sections.append(f"---\nOpened by Pullwright{who}. An AI agent wrote this change: review before merging.")
    return "\n\n".join([*sections, marker(facts.run_id)])


def marker(run_id: RunId) -> str:
    """The hidden line by which a pull request is recognised as this run's."""
    return f"<!-- pullwright:run={run_id} -->"


def marked_run(body: str) -> RunId | None:
    """The run that a pull request's body belongs to. Only the last line counts: text above it was written by others."""
    found = _MARKER.fullmatch(body.rstrip().rsplit("\n", 1)[-1].strip())
    if found is None:
        return None
    try:
        return parse_run_id(found[1])
    except Invalid:
        return None


def quoted(text: str) -> str:
    """Untrusted Markdown as a quotation that reads the same and does nothing. Empty for empty text.

    Code blocks are written anew with a fence of our own, so what counts as code here is code for GitHub too.
    """
    lines: list[str] = []
    fence = ""
    block: list[str] = []
    text = _SKIPS_CHECKS.sub(r"(\1)", _plain(text).strip())  # a squash merge may make the body a commit message
    for line in _shortened(text, SUMMARY_CHARS).split("\n"):
        mark, info = _fence(line)
        if not fence and mark:
            fence, block = mark, [info]
        elif fence and mark.startswith(fence) and not info:
            lines += _code_block(lines, block)
            fence = ""
        elif fence:
            block.append(line)
        else:
            lines.append(_ACTS.sub(lambda found: found[0] + _BREAK, line))
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
    language = info if _LANGUAGE.fullmatch(info) else ""
    longest = max((len(run) for line in code for run in re.findall(r"`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    apart = [""] if before and before[-1] else []
    return [*apart, fence + language, *(line.replace("<!--", f"<{_BREAK}!--") for line in code), fence]


def _changed(changes: Changes) -> str:
    total = (
        f"{_count(changes.files_changed, 'file')} changed, "
        f"{_count(changes.lines_added, 'line')} added, {changes.lines_removed:,} removed."
    )
    listed = [_file_line(file) for file in changes.files[:LISTED_FILES]]
    rest = changes.files_changed - len(listed)
    if rest:
        listed.append(f"- and {_count(rest, 'more file')}")
    notes = []
    if changes.protected:
        paths = ", ".join(_code(path) for path in changes.protected[:LISTED_FILES])
        notes.append(f"\n\n**Look closely at** {paths}: such files act before anybody reads them.")
    if changes.set_aside:
        paths = ", ".join(_code(path) for path in changes.set_aside[:LISTED_FILES])
        notes.append(f"\n\nLeft out, because it cannot be published: {paths}.")
    return f"{total}\n\n" + "\n".join(listed) + "".join(notes)


def _file_line(file: FileChange) -> str:
    size = "binary" if file.binary else f"+{file.lines_added:,} −{file.lines_removed:,}"
    what = "executable bit only" if file.kind is ChangeKind.MODE else f"{file.kind}, {size}"
    kind = f", {file.type}" if file.type in ("symlink", "submodule") else ""
    return f"- {_code(file.path)} ({what}{kind})"


def _how(facts: PullFacts) -> str:
    usage = facts.usage
    run = f"[{facts.run_id}]({facts.run_url})" if facts.run_url else _code(facts.run_id)
    cost = "cost unknown" if usage.cost_basis == "unknown" else f"${usage.cost_micros / 1_000_000:,.4f}"
    parts = [run, f"model {_code(facts.model)}", _count(usage.turns, "turn"), cost, _duration(facts.seconds)]
    scripted = "\n\nThis was a rehearsal: the model's answers were scripted." if facts.rehearsal else ""
    return f"Run {' · '.join(parts)}{scripted}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _code(text: str) -> str:
    """Any text as inline code on one line of bounded length, whatever backticks it holds."""
    line = _shortened(" ".join(_plain(text[:1_000]).split()), 200) or "?"
    longest = max((len(run) for run in re.findall(r"`+", line)), default=0)
    tick = "`" * (longest + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{tick}{pad}{line.replace('<!--', f'<{_BREAK}!--')}{pad}{tick}"


def _line(text: str) -> str:
    return _ACTS.sub(lambda found: found[0] + _BREAK, _shortened(" ".join(_plain(text).split()), 500))


def _name(text: str) -> str:
    return " ".join(re.sub(r"[<>]", "", _plain(text)).split()) or "unknown"


def _shortened(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1].rstrip() + "…"


def _plain(text: str) -> str:
    """Without control, formatting (invisible, bidirectional), private-use and broken characters; newlines and tabs stay."""
    unified = re.sub(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]", "\n", text)
    return "".join(
        character
        for character in _VARIATION.sub("", unified)
        if character in "\n\t" or unicodedata.category(character) not in _INVISIBLE
    )
