"""Comments on issues and pull requests."""

from __future__ import annotations

from infra.local.forge import comment
from infra.local.forge.comment import Comment
from infra.local.forge.problem import not_found
from infra.local.forge.rest import paging
from infra.local.forge.rest.http import Body, Call, Reply, found
from infra.local.forge.rest.issues import checked_text, demand, own_or, target


class Text(Body, frozen=True, kw_only=True):
    body: str


async def list_comments(call: Call) -> Reply:
    shown, headers = paging.cut(call, comment.of(call.world, target(call, "read")))
    return Reply(data=[comment.shape(call.world, call.repo, row) for row in shown], headers=headers)


async def list_all_comments(call: Call) -> Reply:
    rows = call.world.comments.where(lambda row: row.repository == call.repo.id)
    shown, headers = paging.cut(call, rows)
    return Reply(data=[comment.shape(call.world, call.repo, row) for row in shown], headers=headers)


async def create_comment(call: Call) -> Reply:
    parent = target(call, "write")
    body = checked_text(call.body(Text).body, resource="IssueComment", field="body")
    row = comment.add(call.world, call.repo, call.actor, parent, body)
    return Reply(status=201, data=comment.shape(call.world, call.repo, row))


async def get_comment(call: Call) -> Reply:
    return Reply(data=comment.shape(call.world, call.repo, one(call, "read")))


async def change_comment(call: Call) -> Reply:
    row = one(call, "write")
    own_or(call, row.author, "write")
    body = checked_text(call.body(Text).body, resource="IssueComment", field="body")
    row = comment.edit(call.world, call.repo, call.actor, row, body)
    return Reply(data=comment.shape(call.world, call.repo, row))


async def delete_comment(call: Call) -> Reply:
    row = one(call, "write")
    own_or(call, row.author, "write")
    comment.remove(call.world, call.repo, call.actor, row)
    return Reply(status=204)


def one(call: Call, level: str) -> Comment:
    """The comment in the path, if the token may ``level`` what it stands under."""
    row = call.world.comments.get(call.number("comment"))
    if row is None or row.repository != call.repo.id:
        raise not_found()
    demand(call, found(call.world.issues.get(row.issue)), level)
    return row
