"""How results are published: the operator's choice, never the agent's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from infra.core.errors import Invalid
from infra.core.ids import RunId
from infra.core.repository import parse_ref
from infra.core.run import Run

DEFAULT_BRANCH_TEMPLATE = "claude/{run}"
MAX_BRANCH_CHARS = 100
_PLACES = ("run", "short", "issue", "title", "actor")
_PLACE = re.compile(r"\{([^{}]*)\}")
SHORT_CHARS = 8


class CommitMode(StrEnum):
    """``PUSH``: git push, as everybody does. ``API``: made through the forge's API, which signs them as the App's
    ("Verified"); for repositories that demand signatures."""

    PUSH = "push"
    API = "api"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishPolicy:
    """``branch_template``: with ``{run}`` (the run's id), ``{short}`` (its last characters), ``{issue}``, ``{title}`` and
    ``{actor}``. Raises ``Invalid`` for a template that makes no branch name."""

    draft: bool = False
    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    team_reviewers: tuple[str, ...] = ()
    assign_requester: bool = False
    branch_template: str = DEFAULT_BRANCH_TEMPLATE
    commit_mode: CommitMode = CommitMode.PUSH

    def __post_init__(self) -> None:
        for place in _PLACE.findall(self.branch_template):
            if place not in _PLACES:
                known = ", ".join(f"{{{name}}}" for name in _PLACES)
                raise Invalid(
                    f"The branch template has the unknown place {{{place[:40]}}}.",
                    code="invalid_branch_template",
                    hint=f"It knows {known}.",
                )
        parse_ref(_filled(self.branch_template, dict.fromkeys(_PLACES, "x")))


def branch_name(template: str, run: Run) -> str:
    """The branch of a new pull request. Two runs never share one: a name without the run's id gets its end."""
    short = run.id[-SHORT_CHARS:]
    values = {
        "run": run.id,
        "short": short,
        "issue": str(run.origin.issue) if run.origin.issue else "task",
        "title": _slug(run.title)[:40].strip("-") or "task",
        "actor": _slug(run.origin.actor)[:39] or "somebody",
    }
    name = _filled(template, values)[:MAX_BRANCH_CHARS].rstrip("-/.")
    return name if is_own_branch(name, run.id) else f"{name}-{short}"


def is_own_branch(name: str, run_id: RunId) -> bool:
    """Whether a branch can only be this run's: its name carries the end of the run's id."""
    return run_id[-SHORT_CHARS:] in name


def _filled(template: str, values: dict[str, str]) -> str:
    return _PLACE.sub(lambda place: values[place[1]], template)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
