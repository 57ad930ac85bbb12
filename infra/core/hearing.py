"""Which trigger is spoken to by an occasion, before any filter. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from infra.core.mention import Options, commanded, mentioned
from infra.core.occasion import Kind, Occasion
from infra.core.triggers import On, Trigger


@dataclass(frozen=True, slots=True)
class Miss:
    """``near``: the trigger is about this kind of occasion, so its reason is worth telling."""

    reason: str
    near: bool = True


_PLAIN = Options()
_FAR = Miss("", near=False)


def heard(trigger: Trigger, occasion: Occasion) -> Options | Miss:
    """The options that were given along with it, or why the trigger does not hear it.

    Raises ``Invalid`` for a mention whose options cannot be understood.
    """
    match trigger.on:
        case On.LABEL:
            return _labelled(trigger.name, occasion)
        case On.ASSIGNMENT:
            return _assigned(trigger.name, occasion)
        case On.MENTION | On.COMMAND:
            return _spoken_to(trigger, occasion)
        case On.PULL_REQUEST:
            opened = occasion.is_pull and occasion.kind is Kind.OPENED
            # a trigger for drafts too has heard of it when it was opened
            ready = occasion.kind is Kind.READY and trigger.filter.draft is False
            return _PLAIN if opened or ready else _FAR
        case On.REVIEW:
            return _reviewed(trigger.name, occasion)
        case On.CI_FAILED:
            return _failed(trigger, occasion)
        case On.PUSH:
            return _PLAIN if occasion.kind is Kind.PUSHED else _FAR


def _labelled(label: str, occasion: Occasion) -> Options | Miss:
    if occasion.kind is Kind.LABELED:
        same = occasion.label.casefold() == label.casefold()
        return _PLAIN if same else Miss(f"the label {occasion.label!r} is not the trigger label {label!r}")
    if occasion.kind is Kind.OPENED and not occasion.is_pull:
        there = any(name.casefold() == label.casefold() for name in occasion.labels)
        return _PLAIN if there else Miss(f"the issue was opened without the trigger label {label!r}")
    return _FAR


def _assigned(login: str, occasion: Occasion) -> Options | Miss:
    if occasion.kind is not Kind.ASSIGNED:
        return _FAR
    same = occasion.assignee.casefold() == login.casefold()
    return _PLAIN if same else Miss(f"{occasion.assignee} is not {login}")


def _spoken_to(trigger: Trigger, occasion: Occasion) -> Options | Miss:
    if occasion.kind not in {Kind.OPENED, Kind.COMMENTED, Kind.REVIEWED}:
        return _FAR
    hear, sign = (mentioned, "@") if trigger.on is On.MENTION else (commanded, "/")
    options = hear(occasion.said, trigger.name)
    # of what was opened or reviewed there is more to say than that nobody was spoken to
    return options or Miss(f"nothing in it says {sign}{trigger.name}", near=occasion.kind is Kind.COMMENTED)


def _reviewed(state: str, occasion: Occasion) -> Options | Miss:
    if occasion.kind is not Kind.REVIEWED:
        return _FAR
    same = occasion.review_state == state
    return _PLAIN if same else Miss(f"the review is {occasion.review_state!r}, not {state!r}")


def _failed(trigger: Trigger, occasion: Occasion) -> Options | Miss:
    """All checks of one App on a commit, when the last of them has ended – or single ones, where the trigger names them."""
    check = occasion.check
    if check is None:
        return _FAR
    if trigger.filter.checks.only and check.suite:
        return Miss("the trigger names its checks, and a suite is not one of them")
    if not trigger.filter.checks.only and not check.suite:
        return Miss("its suite tells when all checks are done")
    if check.conclusion not in trigger.filter.conclusions:
        return Miss(f"the conclusion is {check.conclusion!r}")
    return _PLAIN
