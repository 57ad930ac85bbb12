"""``GET /`` and ``GET /health``: what this is, and whether it lives."""

from __future__ import annotations

from importlib.metadata import version

from starlette.responses import Response

from dispatcher.call import Call, reply


async def system(call: Call) -> Response:
    """``GET /``: what this is and where to go."""
    settings = call.services.settings
    return reply(
        {
            "name": "pullwright",
            "what": "Issues in, pull requests out, on your own Google Cloud.",
            "version": version("pullwright"),
            "environment": settings.environment,
            "rehearsal": settings.rehearsal,
            "endpoints": {
                "dispatch": "POST /api/workflows/dispatch",
                "runs": "GET /api/runs",
                "webhook": "POST /webhook/github",
                "health": "GET /health",
            },
        }
    )


async def health(call: Call) -> Response:
    """Answers 200 only when the store answers: an instance that cannot save must not take work."""
    await call.services.store.get("health/probe")
    return reply({"status": "ok", "version": version("pullwright")})
