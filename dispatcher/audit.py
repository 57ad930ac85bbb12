"""One line for each attempt to change something: who, what, on which run, and how it was answered.

Lines of the log and no documents: whoever is refused must not be able to fill the store.
"""

from __future__ import annotations

import logging

from dispatcher.call import Call

_log = logging.getLogger("dispatcher.audit")
_LONGEST_PATH = 200


def record(call: Call, outcome: str) -> None:
    """``outcome``: ``accepted``, or the code of the refusal."""
    path = call.request.url.path[:_LONGEST_PATH]
    _log.info(
        "%s %s: %s",
        call.request.method,
        path,
        outcome,
        extra={
            "audit": outcome,
            "method": call.request.method,
            "path": path,
            "caller": call.caller,
            "run_id": str(call.request.path_params.get("run_id") or call.run_id or "")[:40],
            "request_id": call.request_id,
        },
    )
