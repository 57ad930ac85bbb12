"""``POST /api/runs/{id}/credentials``: what a runner may hold, when it may hold it, and no more.

The App's key and every long-lived secret stay here. The write token exists only for a run that says it is publishing,
which its runner does after the agent's processes are gone.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from dispatcher.call import Call, reply
from dispatcher.engine.prepare import Blocked
from dispatcher.engine.project_file import mcp_secrets, project_file
from dispatcher.gateway.lease import run_of
from dispatcher.services import Services
from infra.core.errors import Conflict, Invalid
from infra.core.forge import CLONE_PERMISSIONS, PUBLISH_PERMISSIONS
from infra.core.model_access import Mode, allowed_models, check_model
from infra.core.outlets import parse_outlets
from infra.core.repository import Repository
from infra.core.run import Phase, Run, check_fence
from infra.platform_secrets import ANTHROPIC_API_KEY, ANTHROPIC_AUTH_TOKEN, CLAUDE_CODE_OAUTH_TOKEN
from infra.wire import CredentialsRequest, GitCredentials, McpCredentials, ModelCredentials

_NO_STORE = {"cache-control": "no-store"}

_SECRETS = {
    Mode.API_KEY: ANTHROPIC_API_KEY,
    Mode.GATEWAY: ANTHROPIC_AUTH_TOKEN,
    Mode.OAUTH: CLAUDE_CODE_OAUTH_TOKEN,
}

_OAUTH_BETA = "oauth-2025-04-20"
"""Header value without which the API refuses a subscription token."""


async def credentials(call: Call) -> Response:
    """``POST /api/runs/{id}/credentials``: a token to clone or to publish with, or the model's."""
    services = call.services
    wanted = await call.decode(CredentialsRequest)
    run = await services.runs.get(run_of(call))
    check_fence(run, wanted.fence)
    match wanted.kind:
        case "clone":
            return reply(await _git(run, services, CLONE_PERMISSIONS), headers=_NO_STORE)
        case "publish":
            if run.phase is not Phase.PUBLISHING:
                raise Conflict(
                    "A write token is only given to a run that is publishing.",
                    code="not_publishing",
                    hint="Send a heartbeat with phase publishing first.",
                )
            return reply(await _git(run, services, PUBLISH_PERMISSIONS), headers=_NO_STORE)
        case "model":
            return reply(await _model(run, services), headers=_NO_STORE)
        case "mcp":
            return reply(await _mcp(run, services), headers=_NO_STORE)
        case _:
            raise Invalid(
                "That kind of credentials does not exist.",
                code="unknown_credentials",
                hint="One of: clone, mcp, model, publish.",
            )


async def _git(run: Run, services: Services, permissions: Mapping[str, str]) -> GitCredentials:
    forge = await services.forge()
    token = await forge.access_token(run.installation_id, Repository(owner=run.owner, name=run.repo), permissions)
    return GitCredentials(token=token.value, expires_at=token.expires_at)


async def _mcp(run: Run, services: Services) -> McpCredentials:
    """By the project's file as it is now: a runner cannot ask for secrets by name."""
    checked = await project_file(run, services)
    if isinstance(checked, Blocked):
        raise Conflict(checked.reason.message, code=checked.reason.code, hint=checked.reason.hint)
    repository = Repository(owner=run.owner, name=run.repo)
    values = await mcp_secrets(checked.container, repository, services.secrets)
    return McpCredentials(values={server: dict(given) for server, given in values.items()})


async def _model(run: Run, services: Services) -> ModelCredentials:
    settings, mode = services.settings, services.settings.model_mode
    models = allowed_models(settings.allowed_models, run.model)
    check_model(run.model, models)
    headers, expires_at = await _model_headers(mode, services)
    on_vertex = mode is Mode.VERTEX
    return ModelCredentials(
        mode=mode,
        base_url=settings.vertex.url if on_vertex else settings.anthropic_base_url.rstrip("/"),
        headers=headers,
        allowed_models=list(models),
        outlets=parse_outlets(settings.model_outlets.split(",")),
        expires_at=expires_at,
        project=settings.vertex.project if on_vertex else "",
        region=settings.vertex.region if on_vertex else "",
        surcharge_percent=settings.vertex.surcharge_percent if on_vertex else 0,
    )


async def _model_headers(mode: Mode, services: Services) -> tuple[dict[str, str], int]:
    """What the broker puts on each request, and until when it holds (0: for good)."""
    if mode is Mode.VERTEX:
        token = await services.cloud_token()
        return {"authorization": f"Bearer {token.value}"}, token.expires_at
    secret = (await services.platform.one(_SECRETS[mode])).decode()
    match mode:
        case Mode.API_KEY:
            return {"x-api-key": secret}, 0
        case Mode.GATEWAY:
            return {"authorization": f"Bearer {secret}"}, 0
        case Mode.OAUTH:
            return {"authorization": f"Bearer {secret}", "anthropic-beta": _OAUTH_BETA}, 0
