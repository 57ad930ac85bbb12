"""``/api/runs``: list, look, cancel."""

from __future__ import annotations

from starlette.responses import Response

from dispatcher.api.commands import stop
from dispatcher.api.views import run_view
from dispatcher.call import Call, reply
from infra.core.errors import Invalid
from infra.core.run import State

MAX_PAGE = 200


async def list_runs(call: Call) -> Response:
    """Newest first; ``?state=``, ``?limit=`` (1–200), ``?after=`` the cursor of the page before."""
    query = call.request.query_params
    state = _state(query["state"]) if "state" in query else None
    page = await call.services.runs.list(
        state=state, limit=call.number("limit", 50, 1, MAX_PAGE), after=query.get("after")
    )
    own_url = call.services.settings.own_url
    return reply({"runs": [run_view(run, own_url) for run in page.runs], "next": page.cursor})


async def get_run(call: Call) -> Response:
    """``GET /api/runs/{id}``: one run, whole."""
    run = await call.services.runs.get(call.path_run_id())
    return reply(run_view(run, call.services.settings.own_url))


async def cancel_run(call: Call) -> Response:
    """202 while the runner is being stopped, 200 when the run ended at once; 409 when it was over already."""
    services = call.services
    run, _ = await stop(call.path_run_id(), services, call.caller)
    return reply(run_view(run, services.settings.own_url), 200 if run.ended else 202)


def _state(text: str) -> State:
    try:
        return State(text)
    except ValueError:
        raise Invalid("That is not a run state.", code="invalid_state", hint=f"One of: {', '.join(State)}.") from None
