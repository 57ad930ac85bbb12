"""A run's texts as a reader of the forge's page sees them: what was hidden is taken out of each, and kept as a note. Pure."""

from __future__ import annotations

from dataclasses import replace

from infra.core.ask import Ask, Via, task_of
from infra.core.errors import Invalid
from infra.core.hidden_text import Removal, bounded
from infra.core.run import Run
from infra.core.trigger import MAX_TASK_CHARS, title_of, visible_issue


def shown(run: Run) -> Run:
    """With what people can see and nothing else. Raises ``Invalid`` (``nothing_visible``) when that is nothing."""
    if run.removed is not None:
        return run
    return _shown_asks(run) if run.asks else _shown_task(run)


def _shown_task(run: Run) -> Run:
    title, task, removed = visible_issue(run.task)
    return replace(run, title=title, task=task, removed=bounded(removed))


def _shown_asks(run: Run) -> Run:
    from infra.core.hygiene import clean  # 25 ms of patterns to compile: nobody pays for them at a start

    title = clean(run.title)
    asks: list[Ask] = []
    removed = list(title.removed)
    for ask in run.asks:
        visible, hidden = _visible(ask)
        removed += hidden
        if visible.text or visible.instructions:
            asks.append(visible)
    if not asks:
        raise Invalid(
            "The task holds nothing that a person could see: all of its text is hidden.",
            code="nothing_visible",
            hint="Write the task as plain text that readers of the page can see.",
        )
    about, hidden = _visible_about(run.about)
    removed += hidden
    kept = tuple(asks)
    task = task_of(kept)[:MAX_TASK_CHARS]
    return replace(
        run,
        title=title_of(title.text or task),
        task=task,
        asks=kept,
        about=about,
        removed=bounded(tuple(dict.fromkeys(removed))),
    )


def _visible_about(text: str) -> tuple[str, tuple[Removal, ...]]:
    if not text.strip():
        return "", ()
    try:
        _, about, removed = visible_issue(text)
    except Invalid:
        return "", ()
    return about, removed


def _visible(ask: Ask) -> tuple[Ask, tuple[Removal, ...]]:
    from infra.core.hygiene import clean

    if ask.via not in {Via.ISSUE, Via.PULL}:
        cleaned = clean(ask.text)
        return replace(ask, text=cleaned.text), cleaned.removed
    try:
        _, task, removed = visible_issue(ask.text)
    except Invalid:
        return replace(ask, text=""), clean(ask.text).removed
    return replace(ask, text=task), removed
