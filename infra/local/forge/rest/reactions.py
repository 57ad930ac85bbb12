"""Reactions on issues, comments and review comments."""

from __future__ import annotations

from infra.local.forge import reaction
from infra.local.forge.problem import not_found
from infra.local.forge.rest import paging
from infra.local.forge.rest.comments import one as comment_of
from infra.local.forge.rest.http import Body, Call, Reply
from infra.local.forge.rest.issues import own_or, refuse_unknown, target
from infra.local.forge.rest.reviews import comment_of as review_comment_of


class NewReaction(Body, frozen=True, kw_only=True):
    content: str


def _subject(call: Call, level: str) -> int:
    """Of an issue, a comment or a review comment: whichever the path names."""
    if "number" in call.parameters:
        return target(call, level).id
    if "/pulls/comments/" in call.path:
        return review_comment_of(call).id
    return comment_of(call, level).id


async def list_reactions(call: Call) -> Reply:
    rows = reaction.of(call.world, _subject(call, "read"))
    wanted = call.query.get("content")
    return paging.reply(call, [reaction.shape(call.world, row) for row in rows if wanted in {None, row.content}])


async def create_reaction(call: Call) -> Reply:
    subject, content = _subject(call, "write"), call.body(NewReaction).content
    refuse_unknown(content, reaction.CONTENTS, resource="Reaction", field="content")
    row, new = reaction.react(call.world, subject, call.actor, content)
    return Reply(status=201 if new else 200, data=reaction.shape(call.world, row))


async def delete_reaction(call: Call) -> Reply:
    subject = _subject(call, "write")
    row = call.world.reactions.get(call.number("reaction"))
    if row is None or row.subject != subject:
        raise not_found()
    own_or(call, row.account, "write")
    call.world.reactions.delete(row)
    return Reply(status=204)
