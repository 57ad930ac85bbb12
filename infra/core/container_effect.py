"""What a project's wishes come to under the limits of an installation: less is given, more is told. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from infra.core.container import PATH, Checked, Container
from infra.core.run import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a run gets. ``warnings``: what people should know about the project's file, one line each."""

    limits: Limits
    model: str
    allowed_domains: tuple[str, ...]
    warnings: tuple[str, ...]


def effect(
    checked: Checked, *, limits: Limits, model: str, default_model: str, allowed_domains: tuple[str, ...]
) -> Effect:
    """``limits``, ``model``: the run's own, which is what whoever asked for it got; ``default_model``: what runs get that name none;
    ``allowed_domains``: those of the installation, to which the project's are added."""
    container = checked.container
    given = _smaller(container, limits)
    warnings = [each.told(PATH) for each in checked.findings.warnings] + _reduced(container, limits)
    wished = container.model if container.model and model == default_model else model
    domains = tuple(dict.fromkeys((*allowed_domains, *container.allowed_domains))) if container.network else ()
    return Effect(limits=given, model=wished, allowed_domains=domains, warnings=tuple(warnings))


def _smaller(container: Container, limits: Limits) -> Limits:
    wall = min(container.wall_seconds or limits.wall_seconds, limits.wall_seconds)
    return replace(
        limits,
        budget_micros=min(container.budget_micros or limits.budget_micros, limits.budget_micros),
        wall_seconds=wall,
        idle_seconds=min(limits.idle_seconds, wall),
    )


def _reduced(container: Container, limits: Limits) -> list[str]:
    told = []
    if container.wall_seconds > limits.wall_seconds:
        told.append(
            f"{PATH}: resources.timeout asks for {container.wall_seconds} s; this run has {limits.wall_seconds} s at most."
        )
    if container.budget_micros > limits.budget_micros:
        asked, given = container.budget_micros / 1_000_000, limits.budget_micros / 1_000_000
        told.append(f"{PATH}: budget asks for ${asked:.2f}; this run has ${given:.2f} at most.")
    return told
