"""How runs and events look from outside. Stable JSON: fields are added, never renamed."""

from __future__ import annotations

from typing import Any

from infra.core.clock import Instant, iso
from infra.core.compute_price import COMPUTE_PRICES_AS_OF
from infra.core.run import Discrepancy, Run, State
from infra.core.timeline import Event
from infra.records.commands import CommandRecord

_SUCCESS = frozenset({State.SUCCEEDED, State.NO_CHANGES})


def dispatch_view(run: Run, own_url: str) -> dict[str, Any]:
    """The answer of the dispatch call: whether it worked, the PR URL, and what it took."""
    return {
        "run_id": run.id,
        "status": run.state,
        "success": run.state in _SUCCESS if run.ended else None,
        "pr_url": run.delivered.url if run.delivered else None,
        **_metrics(run),
        "error": _error(run),
        "status_url": f"{own_url}/api/runs/{run.id}",
        "events_url": f"{own_url}/api/runs/{run.id}/events",
    }


def run_view(run: Run, own_url: str) -> dict[str, Any]:
    """One run, whole."""
    return {
        "id": run.id,
        "repository": run.full_name,
        "ref": run.ref,
        "base_sha": run.base_sha,
        "title": run.title,
        "status": run.state,
        "phase": run.phase,
        "attempt": run.attempt,
        "trigger": {"kind": run.origin.kind, "actor": run.origin.actor, "issue": run.origin.issue or None},
        "hidden_text": [
            {"kind": part.kind, "characters": part.characters, "excerpt": part.excerpt} for part in run.removed or ()
        ],
        "created_at": iso(run.created_at),
        "started_at": _iso(run.started_at),
        "finished_at": _iso(run.finished_at),
        "cancel_requested_at": _iso(run.cancel_requested_at),
        "pr_url": run.delivered.url if run.delivered else None,
        "branch": run.branch,
        "changes": _changes(run),
        "model": run.model,
        "executor": "attach" if run.attach else "cloud",
        "parent": run.parent or None,
        **_metrics(run),
        "error": _error(run),
        "status_url": f"{own_url}/api/runs/{run.id}",
        "events_url": f"{own_url}/api/runs/{run.id}/events",
    }


def event_view(event: Event) -> dict[str, Any]:
    return {"sequence": event.sequence, "type": event.type, "at": iso(event.at), "data": event.data}


def command_view(record: CommandRecord) -> dict[str, Any]:
    """Something that was asked of a run, and what became of it."""
    return {
        "id": record.id,
        "sequence": record.sequence,
        "kind": record.kind,
        "data": record.data,
        "issued_by": record.issued_by,
        "at": iso(record.at),
        "state": record.state,
        "exit_code": record.exit_code,
        "text": record.text,
        "artifact": record.artifact or None,
        "finished_at": _iso(record.finished_at),
    }


def _metrics(run: Run) -> dict[str, Any]:
    usage = run.usage.plus(run.spent)
    return {
        "duration_seconds": _duration(run),
        "turns": usage.turns,
        "tokens": {
            "input": usage.input_tokens,
            "output": usage.output_tokens,
            "cache_read": usage.cache_read_tokens,
            "cache_write": usage.cache_write_tokens,
        },
        "cost_usd": usage.cost_micros / 1_000_000,
        "cost_basis": usage.cost_basis,
        "compute": _compute(run),
        "discrepancy": _discrepancy(run.discrepancy),
    }


def _compute(run: Run) -> dict[str, Any] | None:
    """What the runner's time cost, at list prices, up to the last change; None where nobody is billed for it."""
    spent = run.compute.until(run.updated_at)
    if not spent.size:
        return None
    return {
        "host": spent.host,
        "size": spent.size,
        "seconds": spent.milliseconds / 1000,
        "cost_usd": spent.micros / 1_000_000,
        "prices_as_of": COMPUTE_PRICES_AS_OF,
    }


def _discrepancy(found: Discrepancy | None) -> dict[str, Any] | None:
    """Our figures minus the agent's own; None when both agree."""
    if found is None:
        return None
    return {
        "cost_usd": found.cost_micros / 1_000_000,
        "tokens": {"input": found.input_tokens, "output": found.output_tokens, "cache": found.cache_tokens},
    }


def _changes(run: Run) -> dict[str, int] | None:
    if run.delivered is None:
        return None
    return {
        "files": run.delivered.files_changed,
        "added": run.delivered.lines_added,
        "removed": run.delivered.lines_removed,
    }


def _duration(run: Run) -> float | None:
    """Seconds from the request to the end, as the person who waits feels them."""
    return (run.finished_at - run.created_at) / 1000 if run.finished_at else None


def _error(run: Run) -> dict[str, str] | None:
    if run.reason is None:
        return None
    return {"code": run.reason.code, "message": run.reason.message, "hint": run.reason.hint}


def _iso(moment: Instant | None) -> str | None:
    return iso(moment) if moment is not None else None
