"""Reviews and comments on lines of a pull request."""

from __future__ import annotations

from infra.local.forge import pull, review
from infra.local.forge.problem import Refusal, not_found, validation_failed
from infra.local.forge.pull import Pull
from infra.local.forge.rest import paging
from infra.local.forge.rest.http import Body, Call, Reply, found
from infra.local.forge.rest.issues import checked_text, own_or, refuse_unknown
from infra.local.forge.rest.pulls import target
from infra.local.forge.review import Review, ReviewComment, Spot


class NewComment(Body, frozen=True, kw_only=True):
    """Either ``in_reply_to``, or a place: ``path``, ``line`` and ``side``."""

    body: str
    path: str | None = None
    line: int | None = None
    side: str = "RIGHT"
    start_line: int | None = None
    start_side: str | None = None
    commit_id: str | None = None
    in_reply_to: int | None = None


class NewReview(Body, frozen=True, kw_only=True):
    body: str | None = None
    event: str | None = None
    commit_id: str | None = None
    comments: tuple[NewComment, ...] = ()


async def list_reviews(call: Call) -> Reply:
    rows = [row for row in review.of(call.world, target(call)) if row.state != "PENDING" or row.author == _reader(call)]
    return paging.reply(call, [review.shape(call.world, call.repo, row) for row in rows])


def _reader(call: Call) -> int | None:
    return call.identity.account.id if call.identity.account else None


async def create_review(call: Call) -> Reply:
    """https://docs.github.com/rest/pulls/reviews#create-a-review-for-a-pull-request – answers 200, not 201."""
    row, new = target(call), call.body(NewReview)
    _check_event(call, row, new.event, new.body, has_comments=bool(new.comments))
    # Every place is checked before anything is stored: a review is all or nothing.
    spots = [(await _locate(call, row, entry), entry.body) for entry in new.comments]
    made = review.start(
        call.world,
        row,
        call.actor,
        body=new.body or "",
        state=review.STATES[new.event] if new.event else "PENDING",
        commit=_commit(row, new.commit_id),
    )
    for spot, body in spots:
        review.attach(call.world, made, spot, body)
    if made.submitted_at is not None:
        await review.tell(call.world, call.repo, call.actor, made)
    return Reply(data=review.shape(call.world, call.repo, made))


def _check_event(call: Call, row: Pull, event: str | None, body: str | None, *, has_comments: bool) -> None:
    if event is None:
        return
    refuse_unknown(event, tuple(review.STATES), resource="PullRequestReview", field="event")
    if event != "COMMENT" and pull.issue_of(call.world, row).author == call.actor.id:
        verb = "approve" if event == "APPROVE" else "request changes on"
        raise Refusal(422, "Unprocessable Entity", errors=[f"Can not {verb} your own pull request"])
    if not body and (event == "REQUEST_CHANGES" or (event == "COMMENT" and not has_comments)):
        raise validation_failed("PullRequestReview", field="body", code="missing_field")


def _commit(row: Pull, asked: str | None) -> str:
    if asked is not None and asked != row.head_sha:
        raise Refusal(422, "Unprocessable Entity", errors=["commit_id is not part of the pull request"])
    return row.head_sha


async def _locate(call: Call, row: Pull, new: NewComment) -> Spot:
    if new.path is None or new.line is None:
        field = "line" if new.path else "path"
        raise validation_failed("PullRequestReviewComment", field=field, code="missing_field")
    refuse_unknown(new.side, ("LEFT", "RIGHT"), resource="PullRequestReviewComment", field="side")
    if new.start_line is not None and new.start_line >= new.line and new.start_side in {None, new.side}:
        message = "start_line must precede the end line."
        raise validation_failed("PullRequestReviewComment", field="start_line", code="custom", message=message)
    return await review.locate(
        call.world,
        call.repo,
        row,
        path=new.path,
        line=new.line,
        side=new.side,
        start_line=new.start_line,
        start_side=new.start_side,
    )


def one(call: Call) -> Review:
    row = call.world.reviews.get(call.number("review"))
    if row is None or (row.repository, row.number) != (call.repo.id, call.number()):
        raise not_found()
    return row


async def get_review(call: Call) -> Reply:
    return Reply(data=review.shape(call.world, call.repo, one(call)))


class Submission(Body, frozen=True, kw_only=True):
    event: str
    body: str | None = None


async def submit_review(call: Call) -> Reply:
    row, asked = one(call), call.body(Submission)
    if row.state != "PENDING" or row.author != call.actor.id:
        raise Refusal(422, "Can not submit a review that is not pending.")
    comments = [entry for entry in review.comments_of(call.world, target(call)) if entry.review == row.id]
    _check_event(call, target(call), asked.event, asked.body or row.body, has_comments=bool(comments))
    state = review.STATES[asked.event]
    row = await review.submit(call.world, call.repo, call.actor, row, state=state, body=asked.body or row.body)
    return Reply(data=review.shape(call.world, call.repo, row))


async def list_review_comments(call: Call) -> Reply:
    row = one(call)
    rows = [entry for entry in review.comments_of(call.world, target(call)) if entry.review == row.id]
    return paging.reply(call, [review.shape_comment(call.world, call.repo, entry) for entry in rows])


async def list_comments(call: Call) -> Reply:
    rows = review.comments_of(call.world, target(call))
    return paging.reply(call, [review.shape_comment(call.world, call.repo, row) for row in rows])


async def create_comment(call: Call) -> Reply:
    new = call.body(NewComment)
    if new.in_reply_to is not None:
        return await _reply(call, new.in_reply_to, new.body)
    row = target(call)
    spot = await _locate(call, row, new)
    return await _single(call, row, spot, new.body, commit=_commit(row, new.commit_id))


class Answer(Body, frozen=True, kw_only=True):
    body: str


async def reply_to_comment(call: Call) -> Reply:
    return await _reply(call, call.number("comment"), call.body(Answer).body)


async def _reply(call: Call, parent_id: int, body: str) -> Reply:
    row = target(call)
    parent = found(call.world.review_comments.get(parent_id))
    if (parent.repository, parent.number) != (row.repository, row.number):
        raise not_found()
    spot = Spot(
        path=parent.path,
        line=parent.line,
        side=parent.side,
        start_line=parent.start_line,
        start_side=parent.start_side,
        hunk=parent.hunk,
    )
    top = parent.in_reply_to or parent.id
    return await _single(call, row, spot, body, commit=parent.commit, in_reply_to=top)


async def _single(
    call: Call, row: Pull, spot: Spot, body: str, *, commit: str, in_reply_to: int | None = None
) -> Reply:
    """A comment alone is a review of one comment."""
    checked_text(body, resource="PullRequestReviewComment", field="body")
    made = review.start(call.world, row, call.actor, body="", state="COMMENTED", commit=commit)
    entry = review.attach(call.world, made, spot, body, in_reply_to)
    await review.tell(call.world, call.repo, call.actor, made)
    return Reply(status=201, data=review.shape_comment(call.world, call.repo, entry))


def comment_of(call: Call) -> ReviewComment:
    row = call.world.review_comments.get(call.number("comment"))
    if row is None or row.repository != call.repo.id:
        raise not_found()
    return row


async def get_comment(call: Call) -> Reply:
    return Reply(data=review.shape_comment(call.world, call.repo, comment_of(call)))


async def change_comment(call: Call) -> Reply:
    row = comment_of(call)
    own_or(call, row.author, "write")
    body = checked_text(call.body(Answer).body, resource="PullRequestReviewComment", field="body")
    changed = review.edit_comment(call.world, call.repo, call.actor, row, body)
    return Reply(data=review.shape_comment(call.world, call.repo, changed))


async def delete_comment(call: Call) -> Reply:
    row = comment_of(call)
    own_or(call, row.author, "write")
    review.remove_comment(call.world, call.repo, call.actor, row)
    return Reply(status=204)
