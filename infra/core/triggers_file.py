"""``.claude/triggers.yaml``: a project's triggers as a checked value. ``docs/triggers.md`` shows the whole file.

Everything that is wrong is found at once, each with its line; a file with an error is not used at all, because half a
filter lets in what its writer wanted to keep out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from infra.core.quantities import seconds
from infra.core.tree import Entry, Findings, Group, Node, Scalar, flag, one_of, shown, text
from infra.core.triggers import (
    FAILURES,
    MAX_TRIGGERS,
    Filter,
    LabelFilter,
    Names,
    On,
    Paths,
    Trigger,
    Triggers,
)

MAX_NAMES = 50
MAX_INSTRUCTIONS = 10_000
MAX_COOLDOWN_SECONDS = 30 * 24 * 3600

_LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}(?:\[bot\])?")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}")
_CONCLUSIONS = (*FAILURES, "cancelled", "action_required", "neutral", "stale")
_STATES = ("changes_requested", "commented", "approved")
_NAME_KEYS = {
    On.LABEL: "label",
    On.ASSIGNMENT: "assignee",
    On.MENTION: "handle",
    On.COMMAND: "command",
    On.REVIEW: "state",
}
_NEEDS_INSTRUCTIONS = frozenset({On.PULL_REQUEST, On.PUSH})


@dataclass(frozen=True, slots=True)
class Checked:
    """The value, worth using only without errors."""

    triggers: Triggers
    findings: Findings = field(default_factory=Findings)


def check_triggers(tree: Node) -> Checked:
    """Reads the whole tree; says everything that is wrong with it at once."""
    findings = Findings()
    top = Group(tree, findings)
    bots = _bots(top, findings)
    groups = top.groups("triggers")
    if len(groups) > MAX_TRIGGERS:
        findings.error(top.place_of("triggers"), "triggers", f"These are more than {MAX_TRIGGERS} triggers.")
    if not groups and not findings.errors:
        hint = "Write - on: label, or delete the file: then the operator's label and @claude hold."
        findings.error(top.place, "triggers", "There is no trigger here, so nothing could start a run.", hint)
    items = tuple(_trigger(group, findings) for group in groups[:MAX_TRIGGERS])
    top.close()
    return Checked(Triggers(items=items, bots=bots), findings)


def _bots(top: Group, findings: Findings) -> tuple[int, ...]:
    """Ids, because a bot's login can be had by anybody who names an App cleverly."""
    found = []
    for node, path in top.items("bots")[:MAX_NAMES]:
        if isinstance(node.value, int) and not isinstance(node.value, bool) and node.value > 0:
            found.append(node.value)
        else:
            hint = "It is on the App's page; GET /apps/SLUG of GitHub's API tells it, too."
            findings.error(node.place, path, "The id of a GitHub App belongs here, a number.", hint)
    return tuple(found)


def _trigger(group: Group, findings: Findings) -> Trigger:
    on = On(group.scalar("on", one_of(tuple(On)), On.LABEL.value))
    if group.entry("on") is None:
        findings.error(group.place, group.at("on"), f"What does it listen to? One of: {', '.join(On)}.")
    instructions = group.scalar("instructions", _instructions, "")
    if on in _NEEDS_INSTRUCTIONS and not instructions:
        findings.error(
            group.place, group.at("instructions"), f"A trigger on {on} needs instructions: what is to be done?"
        )
    trigger = Trigger(
        on=on,
        name=_name(on, group, findings),
        filter=_filter(on, group, findings),
        cooldown_seconds=group.scalar("cooldown", _cooldown, 0),
        instructions=instructions,
        model=group.scalar("model", text, ""),
    )
    group.close()
    return trigger


def _name(on: On, group: Group, findings: Findings) -> str:
    key = _NAME_KEYS.get(on)
    if key is None:
        return ""
    read: dict[On, Callable[[Scalar], str]] = {
        On.LABEL: _label,
        On.ASSIGNMENT: _matching(_LOGIN, "A GitHub login belongs here."),
        On.MENTION: _handle,
        On.COMMAND: _command,
        On.REVIEW: one_of(_STATES),
    }
    name = group.scalar(key, read[on], "")
    if on is On.REVIEW:
        return name or _STATES[0]
    if group.entry(key) is None:
        findings.error(group.place, group.at(key), f"A trigger on {on} needs {key}.")
    return name


def _filter(on: On, group: Group, findings: Findings) -> Filter:
    labels = group.group("labels")
    found = Filter(
        authors=_names(group, "authors", findings),
        teams=_list(
            group, "teams", _matching(_LOGIN, "The slug of a team belongs here, without the organization."), findings
        ),
        permission=group.scalar("permission", one_of(("write", "maintain", "admin")), "write"),
        labels=LabelFilter(
            all=_list(labels, "all", _label, findings),
            any=_list(labels, "any", _label, findings),
            none=_list(labels, "none", _label, findings),
        ),
        branches=_names(group, "branches", findings),
        files=Paths(**_only_and_not(group.group("files"), findings)),
        draft=_draft(group),
        checks=_names(group, "checks", findings),
        conclusions=_list(group, "conclusions", one_of(_CONCLUSIONS), findings) or FAILURES,
    )
    labels.close()
    if on is not On.CI_FAILED:
        for key in ("checks", "conclusions"):
            if entry := group.entry(key):
                findings.error(entry.place, group.at(key), "Only a trigger on ci_failed knows checks.")
    return found


def _draft(group: Group) -> bool | None:
    return group.scalar("draft", flag, default=False) if group.entry("draft") else None


def _names(group: Group, key: str, findings: Findings) -> Names:
    """``key: [a, b]`` lets in these; ``key: {only: [a], not: [b]}`` says both."""
    entry = group.entry(key)
    if entry is None or not isinstance(entry.node.value, Mapping):
        return Names(only=_list(group, key, _glob, findings))
    return Names(**_only_and_not(group.group(key), findings))


def _only_and_not(group: Group, findings: Findings) -> dict[str, tuple[str, ...]]:
    found = {"only": _list(group, "only", _glob, findings), "never": _list(group, "not", _glob, findings)}
    group.close()
    return found


def _list(group: Group, key: str, read: Callable[[Scalar], str], findings: Findings) -> tuple[str, ...]:
    items = group.items(key)
    if len(items) > MAX_NAMES:
        findings.error(group.place_of(key), group.at(key), f"These are more than {MAX_NAMES}.")
    return tuple(
        element
        for number, (node, _) in enumerate(items[:MAX_NAMES])
        if (element := _element(node, number, group.at(key), read, findings))
    )


def _element(node: Node, number: int, path: str, read: Callable[[Scalar], str], findings: Findings) -> str:
    """One element, read like a key of its own so that a mistake is told with its place."""
    name = f"{path}[{number}]"
    return Group(Node({name: Entry(node.place, node)}, node.place), findings).scalar(name, read, "")


def _matching(grammar: re.Pattern[str], sentence: str) -> Callable[[Scalar], str]:
    def read(value: Scalar) -> str:
        if not isinstance(value, str) or grammar.fullmatch(value) is None:
            raise ValueError(sentence)
        return value

    return read


def _label(value: Scalar) -> str:
    name = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    if not isinstance(name, str) or not name.strip() or len(name) > 255 or not name.isprintable():
        raise ValueError("The name of a label belongs here.")
    return name


def _handle(value: Scalar) -> str:
    name = text(value).removeprefix("@")
    return _matching(_WORD, 'The name that people mention belongs here, in quotes, as in "@claude".')(name)


def _command(value: Scalar) -> str:
    name = text(value).removeprefix("/")
    return _matching(_WORD, "A word with a slash before it belongs here, as in /claude.")(name)


def _glob(value: Scalar) -> str:
    pattern = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    if not isinstance(pattern, str) or not pattern or len(pattern) > 300 or not pattern.isprintable():
        raise ValueError("A name or a pattern such as release/* belongs here.")
    return pattern


def _instructions(value: Scalar) -> str:
    words = text(value).strip()
    if len(words) > MAX_INSTRUCTIONS:
        raise ValueError(f"These are more than {MAX_INSTRUCTIONS:,} characters. Put long rules into CLAUDE.md.")
    return words


def _cooldown(value: Scalar) -> int:
    length = seconds(value)
    if length > MAX_COOLDOWN_SECONDS:
        raise ValueError(f"{shown(str(value))} is longer than 30 days.")
    return length
