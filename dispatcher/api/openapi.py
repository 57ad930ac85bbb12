"""``GET /openapi.json``: the HTTP surface as OpenAPI 3.1, made from the route table.

What a route takes is the very type that its handler decodes; every refusal has one shape.
https://spec.openapis.org/oas/v3.1.0.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import msgspec
from starlette.responses import Response

from dispatcher.api import config, internal, new_runs, sessions
from dispatcher.api.commands import CommandBody, send_command
from dispatcher.call import Call, reply
from dispatcher.doors.workflow_dispatch import DispatchBody, dispatch_workflow
from dispatcher.gateway import commands, credentials, ingest, lease
from dispatcher.route import Access, Handler, Rule
from infra.wire import (
    Announce,
    ClaimRequest,
    CommandResult,
    CredentialsRequest,
    EventPost,
    Heartbeat,
    Release,
    RunLaunch,
    Settlement,
)

BODIES: Mapping[Handler, Any] = {
    dispatch_workflow: DispatchBody,
    send_command: CommandBody,
    new_runs.create_run: new_runs.NewRunBody,
    new_runs.continue_run: new_runs.FollowUpBody,
    new_runs.fork_run: new_runs.FollowUpBody,
    sessions.create_session: sessions.SessionBody,
    config.store: config.Credentials,
    lease.claim: ClaimRequest,
    lease.heartbeat: Heartbeat,
    lease.release: Release,
    lease.settle: Settlement,
    credentials.credentials: CredentialsRequest,
    commands.command_result: CommandResult,
    ingest.ingest_events: EventPost,
    internal.announce: Announce,
    internal.launch_job: RunLaunch,
    internal.stop_execution: RunLaunch,
}
"""What handlers decode; a test compares it with what they do."""

_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_REF = "#/components/schemas/{name}"

ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "hint", "request_id"],
            "additionalProperties": False,
            "properties": {name: {"type": "string"} for name in ("code", "message", "hint", "request_id")},
        }
    },
}

_SECURITY: dict[Access, list[dict[str, list[str]]]] = {
    Access.ANYONE: [],
    Access.SIGNATURE: [{"webhookSignature": []}],
    Access.READ: [{"apiKey": []}],
    Access.EXECUTE: [{"apiKey": []}],
    Access.ADMIN: [{"apiKey": []}],
    Access.RUNNER: [{"runToken": []}],
    Access.RUNNER_STREAM: [{"runToken": []}],
    Access.READ_OR_RUNNER: [{"apiKey": []}, {"runToken": []}],
    Access.INTERNAL: [{"identityToken": []}],
}

_SCHEMES = {
    "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key, pw_…; its permission decides."},
    "runToken": {"type": "http", "scheme": "bearer", "description": "A run's token; the request is signed as well."},
    "identityToken": {"type": "http", "scheme": "bearer", "description": "Of the queue or the scheduler."},
    "webhookSignature": {"type": "apiKey", "in": "header", "name": "X-Hub-Signature-256"},
}


def describe(rules: Sequence[Rule]) -> dict[str, Any]:
    """The whole description."""
    bodies = list(dict.fromkeys(BODIES.values()))
    schemas, components = msgspec.json.schema_components(bodies, ref_template=_REF)
    by_body = dict(zip(bodies, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for rule in rules:
        path = _PARAMETER.sub(r"{\1}", rule.path)
        paths.setdefault(path, {})[rule.method.lower()] = _operation(rule, by_body)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Pullwright", "version": version("pullwright")},
        "paths": paths,
        "components": {"schemas": {**components, "Error": ERROR}, "securitySchemes": _SCHEMES},
    }


def _operation(rule: Rule, by_body: Mapping[Any, dict[str, Any]]) -> dict[str, Any]:
    refusal = {
        "description": "Refused.",
        "content": {"application/json": {"schema": {"$ref": _REF.format(name="Error")}}},
    }
    operation: dict[str, Any] = {
        "operationId": f"{rule.method.lower()}_{rule.handler.__name__}",
        "summary": summary(rule),
        "security": _SECURITY[rule.access],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in _PARAMETER.findall(rule.path)
        ],
        "responses": {"2XX": {"description": "Done."}, "4XX": refusal, "5XX": refusal},
    }
    if body := BODIES.get(rule.handler):
        content = {"application/json": {"schema": by_body[body]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def summary(rule: Rule) -> str:
    """What the route does: the first words of its handler."""
    text = " ".join((rule.handler.__doc__ or "").split())
    before, found, after = text.partition("``: ")
    return (after if found and before.startswith("``") else text).replace("``", "`")


async def openapi(call: Call) -> Response:  # noqa: ARG001 - the signature of a handler
    """This very description, as OpenAPI 3.1."""
    from dispatcher.app import ROUTES

    return reply(describe(ROUTES), headers={"cache-control": "max-age=300"})
