"""What a run spent on the model, request by request: the account that its settlement is the sum of.

Kept with the run as JSON lines (``ledger.jsonl``), all attempts together; and held against what the agent says it used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from infra.core.clock import Instant
from infra.core.run import Discrepancy, Usage
from runner.exchange import Entry

NAME = "ledger.jsonl"


def usage_of(entries: Sequence[Entry]) -> Usage:
    """The sum. A turn is an answer of the model."""
    counted = [entry for entry in entries if entry.counted != "none"]
    return Usage(
        turns=len(counted),
        input_tokens=sum(entry.tokens.input for entry in counted),
        output_tokens=sum(entry.tokens.output for entry in counted),
        cache_read_tokens=sum(entry.tokens.cache_read for entry in counted),
        cache_write_tokens=sum(entry.tokens.cache_write_5m + entry.tokens.cache_write_1h for entry in counted),
        cost_micros=sum(entry.micros for entry in counted),
        cost_basis="unknown" if any(entry.counted == "reserved" for entry in counted) else "metered",
    )


def lines_of(entries: Sequence[Entry], *, run_id: str, fence: int) -> bytes:
    """One line for each request, in the order of asking. ``id`` stands for one request of one attempt, and so is counted once."""
    ordered = sorted(entries, key=lambda entry: entry.number)
    return b"".join(msgspec.json.encode(_line(entry, f"{run_id}.{fence}.{entry.number}")) + b"\n" for entry in ordered)


def lost_line(before: bytes, used: Usage, *, run_id: str, fence: int, at: Instant) -> bytes:
    """What earlier attempts had spent by their last heartbeat and kept no lines of, because their runner was lost. ``before``: the lines
    that there are; empty when they hold it all."""
    kept = [msgspec.json.decode(line, type=_Kept) for line in before.splitlines()]
    missing = used.cost_micros - sum(line.cost_micros for line in kept)
    if missing <= 0:
        return b""
    line = {
        "id": f"{run_id}.{fence}.0",
        "at": at,
        "counted": "lost",
        "input_tokens": used.input_tokens - sum(line.input_tokens for line in kept),
        "output_tokens": used.output_tokens - sum(line.output_tokens for line in kept),
        "cost_micros": missing,
    }
    return msgspec.json.encode(line) + b"\n"


class _Kept(msgspec.Struct, frozen=True):
    cost_micros: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


def _line(entry: Entry, identity: str) -> dict[str, Any]:
    return {
        "id": identity,
        "at": entry.at,
        "model": entry.model,
        "status": entry.status,
        "ended": entry.ended,
        "counted": entry.counted,
        "input_tokens": entry.tokens.input,
        "output_tokens": entry.tokens.output,
        "cache_read_tokens": entry.tokens.cache_read,
        "cache_write_5m_tokens": entry.tokens.cache_write_5m,
        "cache_write_1h_tokens": entry.tokens.cache_write_1h,
        "web_searches": entry.tokens.web_searches,
        "reserved_micros": entry.reserved,
        "cost_micros": entry.micros,
        "price_basis": entry.price_basis,
        "request_id": entry.request_id,
    }


def discrepancy(entries: Sequence[Entry], reported: Usage, *, surcharge_percent: int = 0) -> Discrepancy | None:
    """How the agent's own figures differ from the ledger's; None when they agree.

    The agent does not count answers that were cut, nor what a cloud region adds to the list price, and sums fractions of a millionth
    where each request is rounded up here: what that explains is no difference. What is left is money that the agent knows
    nothing of (something else in the box asked the model) or that it believes to have spent and did not.
    """
    whole = [entry for entry in entries if entry.counted == "full"]
    ours = usage_of(whole)
    list_price = -(-ours.cost_micros * 100 // (100 + surcharge_percent))
    difference = Discrepancy(
        cost_micros=list_price - reported.cost_micros,
        input_tokens=ours.input_tokens - reported.input_tokens,
        output_tokens=ours.output_tokens - reported.output_tokens,
        cache_tokens=ours.cache_read_tokens
        + ours.cache_write_tokens
        - reported.cache_read_tokens
        - reported.cache_write_tokens,
    )
    tokens_agree = not (difference.input_tokens or difference.output_tokens or difference.cache_tokens)
    # a model without a listed price is priced by each side as it thinks best
    prices_known = all(entry.price_basis == "list" for entry in whole)
    rounding = 2 * len(whole) + 1
    if tokens_agree and (abs(difference.cost_micros) <= rounding or not prices_known):
        return None
    return difference
