"""``POST /api/runs/{id}/credentials``: what a runner may hold, when it may hold it, and no more.

The App's key and every long-lived secret stay here. The write token exists only for a run that says it is publishing,
which its runner does after the agent's processes are gone.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from dispatcher.call import Call, reply
from dispatcher.gateway.lease import run_of
from dispatcher.services import Services
from infra.core.errors import Conflict, Invalid
from infra.core.forge import CLONE_PERMISSIONS, PUBLISH_PERMISSIONS
from infra.core.repository import Repository
from infra.core.run import Phase, Run, check_fence
from infra.platform_secrets import ANTHROPIC_API_KEY, ANTHROPIC_AUTH_TOKEN, CLAUDE_CODE_OAUTH_TOKEN
from infra.wire import CredentialsRequest, GitCredentials, ModelCredentials

_NO_STORE = {"cache-control": "no-store"}

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
            return reply(await _model(services), headers=_NO_STORE)
        case _:
            raise Invalid(
                "That kind of credentials does not exist.",
                code="unknown_credentials",
                hint="One of: clone, model, publish.",
            )


async def _git(run: Run, services: Services, permissions: Mapping[str, str]) -> GitCredentials:
    forge = await services.forge()
    token = await forge.access_token(run.installation_id, Repository(owner=run.owner, name=run.repo), permissions)
    return GitCredentials(token=token.value, expires_at=token.expires_at)


async def _model(services: Services) -> ModelCredentials:
    settings = services.settings
    name = {"api_key": ANTHROPIC_API_KEY, "gateway": ANTHROPIC_AUTH_TOKEN, "oauth": CLAUDE_CODE_OAUTH_TOKEN}[
        settings.model_auth
    ]
    secret = (await services.platform.one(name)).decode()
    headers = {
        "api_key": {"x-api-key": secret},
        "gateway": {"authorization": f"Bearer {secret}"},
        "oauth": {"authorization": f"Bearer {secret}", "anthropic-beta": _OAUTH_BETA},
    }[settings.model_auth]
    return ModelCredentials(
        mode=settings.model_auth,
        base_url=settings.anthropic_base_url.rstrip("/"),
        headers=headers,
        allowed_models=allowed_models(settings.allowed_models, settings.claude_model),
    )


def allowed_models(listed: str, model: str) -> list[str]:
    """The models that a run may use: the operator's list, or the run's own model."""
    return [name.strip() for name in listed.split(",") if name.strip()] or [model]
