"""The route table: path, method, handler, access rule. A route without a rule cannot be written down.

The rule runs before the handler; the body is not read before a rule that does not need it has passed.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from dispatcher import audit
from dispatcher.api import (
    config,
    deliveries,
    events,
    health,
    installations,
    internal,
    new_runs,
    openapi,
    runs,
    sessions,
)
from dispatcher.api.commands import send_command
from dispatcher.api.errors import crash_reply, error_reply
from dispatcher.call import Call
from dispatcher.doors import github, workflow_dispatch
from dispatcher.gateway import artifacts, auth, commands, credentials, ingest, lease
from dispatcher.route import Access, Rule
from dispatcher.services import Services
from infra.core.access import Permission, allows
from infra.core.errors import Forbidden, Invalid, NotFound, PullwrightError, Unauthenticated

_log = logging.getLogger("dispatcher")

_CHANGING = frozenset({Access.EXECUTE, Access.ADMIN})
_AUDITED = _CHANGING | {Access.RUNNER, Access.RUNNER_STREAM, Access.READ_OR_RUNNER}
"""Refusals leave a line for the audit here; a runner's accepted calls do not, they are its work."""


# those with parameters are tried in this order, the busiest first
ROUTES: tuple[Rule, ...] = (
    Rule("POST", "/webhook/github", github.receive, Access.SIGNATURE),
    Rule("POST", "/api/ingest/event", ingest.ingest_events, Access.RUNNER),
    Rule("POST", "/api/ingest/artifact", artifacts.ingest_artifact, Access.RUNNER_STREAM),
    Rule("GET", "/api/ingest/artifact", artifacts.upload_state, Access.RUNNER),
    Rule("POST", "/api/runs/{run_id}/heartbeat", lease.heartbeat, Access.RUNNER),
    Rule("POST", "/api/runs/{run_id}/claim", lease.claim, Access.RUNNER),
    Rule("POST", "/api/runs/{run_id}/credentials", credentials.credentials, Access.RUNNER),
    Rule("POST", "/api/runs/{run_id}/release", lease.release, Access.RUNNER),
    Rule("POST", "/api/runs/{run_id}/settle", lease.settle, Access.RUNNER),
    Rule("POST", "/api/workflows/dispatch", workflow_dispatch.dispatch_workflow, Access.EXECUTE),
    Rule("GET", "/api/runs/{run_id}/commands", commands.commands, Access.READ_OR_RUNNER),
    Rule("POST", "/api/runs/{run_id}/commands", send_command, Access.EXECUTE),
    Rule("POST", "/api/runs/{run_id}/commands/{command_id}/result", commands.command_result, Access.RUNNER),
    Rule("GET", "/api/workflows/installation-status/{owner}/{repo}", installations.installation_status, Access.READ),
    Rule("GET", "/api/runs", runs.list_runs, Access.READ),
    Rule("POST", "/api/runs", new_runs.create_run, Access.EXECUTE),
    Rule("POST", "/api/runs/{run_id}/continue", new_runs.continue_run, Access.EXECUTE),
    Rule("POST", "/api/runs/{run_id}/fork", new_runs.fork_run, Access.EXECUTE),
    Rule("GET", "/api/runs/{run_id}", runs.get_run, Access.READ),
    Rule("GET", "/api/runs/{run_id}/events", events.run_events, Access.READ),
    Rule("POST", "/api/runs/{run_id}/cancel", runs.cancel_run, Access.EXECUTE),
    Rule("GET", "/api/runs/{run_id}/artifacts", artifacts.list_artifacts, Access.READ),
    Rule("GET", "/api/runs/{run_id}/artifacts/{name:path}", artifacts.get_artifact, Access.READ_OR_RUNNER),
    Rule("GET", "/api/projects/{project}/agentic-sessions", sessions.list_sessions, Access.READ),
    Rule("POST", "/api/projects/{project}/agentic-sessions", sessions.create_session, Access.EXECUTE),
    Rule("GET", "/api/projects/{project}/agentic-sessions/{name}", sessions.get_session, Access.READ),
    Rule("DELETE", "/api/projects/{project}/agentic-sessions/{name}", sessions.delete_session, Access.EXECUTE),
    Rule("GET", "/api/deliveries", deliveries.list_deliveries, Access.READ),
    Rule("GET", "/config", config.show, Access.ADMIN),
    Rule("POST", "/config", config.store, Access.ADMIN),
    Rule("DELETE", "/config", config.clear, Access.ADMIN),
    Rule("POST", "/internal/sweep", internal.sweep, Access.INTERNAL),
    Rule("POST", "/internal/reconcile-deliveries", internal.reconcile_deliveries, Access.INTERNAL),
    Rule("POST", "/internal/announce", internal.announce, Access.INTERNAL),
    Rule("POST", "/internal/launch-job", internal.launch_job, Access.INTERNAL),
    Rule("POST", "/internal/stop-execution", internal.stop_execution, Access.INTERNAL),
    Rule("GET", "/health", health.health, Access.ANYONE),
    Rule("GET", "/openapi.json", openapi.openapi, Access.ANYONE),
    Rule("GET", "/", health.system, Access.ANYONE),
)


def build_app(services: Services, routes: Sequence[Rule] = ROUTES) -> ASGIApp:
    """The whole control plane as one ASGI callable."""
    by_path: defaultdict[str, dict[str, Rule]] = defaultdict(dict)
    for rule in routes:
        by_path[rule.path][rule.method] = rule
    fixed: dict[str, ASGIApp] = {}
    patterns: list[Route] = []
    for path, methods in by_path.items():
        endpoint = _Endpoint(services, methods)
        if "{" in path:
            patterns.append(Route(path, endpoint))
        else:
            fixed[path] = endpoint
    return _Table(fixed, Router(routes=patterns, redirect_slashes=False, default=_Endpoint(services, {})))


class _Table:
    """A path without parameters is looked up, the busiest among them; only the others are matched one after another."""

    def __init__(self, fixed: Mapping[str, ASGIApp], patterns: ASGIApp) -> None:
        self._fixed = fixed
        self._patterns = patterns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._fixed.get(scope["path"], self._patterns)(scope, receive, send)


class _Endpoint:
    """All methods of one path (none: the path does not exist), with the error shape around them."""

    def __init__(self, services: Services, methods: Mapping[str, Rule]) -> None:
        self._services = services
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        request_id = _request_id(request, self._services)
        call = Call(request, self._services, request_id)
        rule: Rule | None = None
        try:
            rule = self._rule(request.method)
            await _authorize(call, rule.access)
            response = await rule.handler(call)
            if rule.access in _CHANGING:
                audit.record(call, "accepted")
        except PullwrightError as error:
            if rule is not None and rule.access in _AUDITED:
                audit.record(call, error.code)
            _log.info("%s %s: %s", request.method, request.url.path, error.code, extra={"request_id": request_id})
            response = error_reply(error, request_id)
        except Exception as error:  # noqa: BLE001 – the one edge where the unforeseen becomes an answer
            response = crash_reply(error, request_id)
        response.headers["x-request-id"] = request_id
        await response(scope, receive, send)

    def _rule(self, method: str) -> Rule:
        if not self._methods:
            raise NotFound("There is nothing at this address.", code="unknown_path", hint="GET / lists the addresses.")
        rule = self._methods.get("GET" if method == "HEAD" else method)
        if rule is None:
            allowed = ", ".join(sorted(self._methods))
            raise Invalid(
                f"This address does not take {method[:16]}.", code="method_not_allowed", hint=f"It takes {allowed}."
            )
        return rule


async def _authorize(call: Call, access: Access) -> None:
    match access:
        case Access.ANYONE | Access.SIGNATURE:
            return
        case Access.RUNNER:
            await auth.authenticate(call, _bearer(call.request))
        case Access.RUNNER_STREAM:
            await auth.authenticate(call, _bearer(call.request), streamed=True)
        case Access.READ_OR_RUNNER:
            token = _bearer(call.request)
            if token.startswith("pw_"):
                await _check_key(call, token, Permission.READ)
            else:
                await auth.authenticate(call, token)
        case Access.INTERNAL:
            await call.services.check_internal(_bearer(call.request))
        case Access.READ | Access.EXECUTE | Access.ADMIN:
            await _check_key(call, _bearer(call.request), Permission(access.value))


async def _check_key(call: Call, token: str, needed: Permission) -> None:
    call.key = await call.services.keys.verify(token, call.services.clock())
    if not allows(call.key.permission, needed):
        raise Forbidden(
            f"This takes a key with {needed} permission; yours has {call.key.permission}.",
            code="missing_permission",
            hint="Ask an admin for a key with more.",
        )


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated(
            "This address needs a key.", code="missing_credentials", hint="Send: Authorization: Bearer pw_…"
        )
    return token.strip()


def _request_id(request: Request, services: Services) -> str:
    """The trace that Google's front end gave the request, or a number of our own."""
    trace = request.headers.get("x-cloud-trace-context", "").partition("/")[0]
    return trace if trace.isalnum() and len(trace) == 32 else services.entropy(16).hex()
