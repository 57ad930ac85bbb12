"""Every sentence that is published in a repository: title, commit message and body of a pull request. Pure.

The agent's summary and the task's title were written by a model and by strangers. They may look as they like but may not
*act*: no image that loads, no HTML, no link, no notification, no closed issue, no skipped check, no forged marker.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from infra.core.changes import ChangeKind, Changes, FileChange
from infra.core.errors import Invalid
from infra.core.harmless import SKIPS_CHECKS, as_code, as_line, as_name, counted, duration, plain, quoted, shortened
from infra.core.ids import RunId, parse_run_id
from infra.core.run import Usage

TITLE_CHARS = 72
LISTED_FILES = 20
TEMPLATE_CHARS = 10_000

RUN_TRAILER = "Pullwright-Run"

_UNTITLED = "Changes by Claude"
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_MARKER = re.compile(r"<!-- pullwright:run=(run-[0-9a-z]{26}) -->")
# git rebase --autosquash acts on these first words. https://git-scm.com/docs/git-rebase#Documentation/git-rebase.txt---autosquash
_AUTOSQUASH = re.compile(r"^((fixup|squash|amend)!\s*)+", re.IGNORECASE)
_ODD_START = re.compile(r"^[^\w\[(\"'`«“„‘.]+|^\.+(?!\w)")


@dataclass(frozen=True, slots=True, kw_only=True)
class CoAuthor:
    """A person named in a ``Co-authored-by`` trailer."""

    name: str
    email: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PullFacts:
    """What a pull request says about its run. ``seconds``: how long the run took. ``closes``: issue number, 0 for none.

    ``notices``: what reviewers should know about the task, one line each. ``template``: the repository's own, from its base.
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
    template: str = ""


def pull_title(task_title: str) -> str:
    """One printable line of at most 72 characters that starts with a word, a quotation or a bracket."""
    line = " ".join(plain(task_title).split())
    line = SKIPS_CHECKS.sub(r"(\1)", line)
    before = None
    while before != line:
        before, line = line, _ODD_START.sub("", _AUTOSQUASH.sub("", line)).strip()
    return shortened(line, TITLE_CHARS) or _UNTITLED


def commit_message(task_title: str, run_id: RunId, co_author: CoAuthor | None = None) -> str:
    """Subject and trailers. No text of the agent: what it says belongs to the pull request, where it can be quoted."""
    trailers = [f"{RUN_TRAILER}: {run_id}"]
    if co_author is not None:
        trailers.append(f"Co-authored-by: {as_name(co_author.name)} <{as_name(co_author.email)}>")
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
    sections += [f"**Note:** {as_line(told)}" for told in facts.notices]
    if template := _COMMENT.sub("", plain(facts.template)).strip():
        sections.append(f"---\n\n{shortened(template, TEMPLATE_CHARS)}\n\n---")
    if facts.closes:
        sections.append(f"Closes #{facts.closes}")
    who = f" for {as_code(facts.requested_by)}" if facts.requested_by else ""
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


def _changed(changes: Changes) -> str:
    total = (
        f"{counted(changes.files_changed, 'file')} changed, "
        f"{counted(changes.lines_added, 'line')} added, {changes.lines_removed:,} removed."
    )
    listed = [_file_line(file) for file in changes.files[:LISTED_FILES]]
    rest = changes.files_changed - len(listed)
    if rest:
        listed.append(f"- and {counted(rest, 'more file')}")
    notes = []
    if changes.protected:
        paths = ", ".join(as_code(path) for path in changes.protected[:LISTED_FILES])
        notes.append(f"\n\n**Look closely at** {paths}: such files act before anybody reads them.")
    if changes.set_aside:
        paths = ", ".join(as_code(path) for path in changes.set_aside[:LISTED_FILES])
        notes.append(f"\n\nLeft out, because it cannot be published: {paths}.")
    return f"{total}\n\n" + "\n".join(listed) + "".join(notes)


def _file_line(file: FileChange) -> str:
    size = "binary" if file.binary else f"+{file.lines_added:,} −{file.lines_removed:,}"
    what = "executable bit only" if file.kind is ChangeKind.MODE else f"{file.kind}, {size}"
    kind = f", {file.type}" if file.type in ("symlink", "submodule") else ""
    return f"- {as_code(file.path)} ({what}{kind})"


def _how(facts: PullFacts) -> str:
    usage = facts.usage
    run = f"[{facts.run_id}]({facts.run_url})" if facts.run_url else as_code(facts.run_id)
    cost = "cost unknown" if usage.cost_basis == "unknown" else f"${usage.cost_micros / 1_000_000:,.4f}"
    parts = [run, f"model {as_code(facts.model)}", counted(usage.turns, "turn"), cost, duration(facts.seconds)]
    scripted = "\n\nThis was a rehearsal: the model's answers were scripted." if facts.rehearsal else ""
    return f"Run {' · '.join(parts)}{scripted}"
