"""The few GraphQL operations that are used, told apart by the field they ask for. Anything else is refused in GraphQL's words."""

from __future__ import annotations

from typing import Any

import msgspec

from infra.local.forge import access, pull, repository, thread
from infra.local.forge.access import reading, writing
from infra.local.forge.problem import Refusal
from infra.local.forge.rest.http import Body, Call, Reply

PATH = "/api/graphql"
_NEWEST = 100


class Question(Body, frozen=True, kw_only=True):
    query: str
    variables: dict[str, Any] = msgspec.field(default_factory=dict)


async def answer(call: Call) -> Reply:
    """``POST /api/graphql``: always 200 for who is known; refusals stand in ``errors``."""
    if call.identity.anonymous:
        raise Refusal(401, "This endpoint requires you to be authenticated.")
    question = call.body(Question)
    try:
        if "resolveReviewThread(" in question.query:
            return Reply(data={"data": {"resolveReviewThread": _resolve(call, question.variables)}})
        if "reviewThreads(" in question.query:
            return Reply(data={"data": {"repository": {"pullRequest": _threads(call, question.variables)}}})
    except Refusal as refusal:
        kind = {403: "FORBIDDEN", 404: "NOT_FOUND"}.get(refusal.status, "UNPROCESSABLE")
        message = "Resource not accessible by integration" if kind == "FORBIDDEN" else "Could not resolve to a node."
        return Reply(data={"data": None, "errors": [{"type": kind, "message": message}]})
    return Reply(data={"errors": [{"message": "The local forge does not know this operation."}]})


def _threads(call: Call, variables: dict[str, Any]) -> dict[str, Any]:
    repo = repository.find(call.world, str(variables.get("owner")), str(variables.get("name")))
    row = pull.find(call.world, repo, int(variables.get("number", 0))) if repo else None
    if repo is None or row is None:
        raise Refusal(404, "Not Found")
    access.demand(call.world, call.identity, repo, reading("pull_requests"))
    nodes = [
        {
            "id": thread.name(top),
            "isResolved": thread.resolved(call.world, top),
            "comments": {"nodes": [{"databaseId": comment.id} for comment in comments]},
        }
        for top, comments in list(thread.of(call.world, row).items())[-_NEWEST:]
    ]
    return {"reviewThreads": {"nodes": nodes}}


def _resolve(call: Call, variables: dict[str, Any]) -> dict[str, Any]:
    top = thread.find(call.world, str(variables.get("thread")))
    repo = call.world.repositories.get(top.repository) if top else None
    if top is None or repo is None:
        raise Refusal(404, "Not Found")
    access.demand(call.world, call.identity, repo, writing("pull_requests"))
    thread.resolve(call.world, repo, call.actor, top)
    return {"thread": {"id": thread.name(top.id), "isResolved": True}}
