"""Pull requests."""

from __future__ import annotations

from msgspec.structs import replace

from infra.local.forge import account, issue, merging, pull
from infra.local.forge.git import commits
from infra.local.forge.problem import Refusal, validation_failed
from infra.local.forge.pull import Pull
from infra.local.forge.rest import commits as commit_shapes
from infra.local.forge.rest import paging
from infra.local.forge.rest.http import Body, Call, Reply, found
from infra.local.forge.rest.issues import checked_text, people

_MAX_COMMITS = 250


def target(call: Call) -> Pull:
    return found(pull.find(call.world, call.repo, call.number()))


class NewPull(Body, frozen=True, kw_only=True):
    title: str
    head: str
    base: str
    body: str | None = None
    draft: bool = False


async def create_pull(call: Call) -> Reply:
    new = call.body(NewPull)
    row = await pull.open_pull(
        call.world,
        call.repo,
        call.actor,
        title=checked_text(new.title, resource="PullRequest", field="title", limit=256),
        body=new.body,
        head=new.head,
        base=new.base,
        draft=new.draft,
    )
    return Reply(status=201, data=await pull.shape(call.world, call.repo, row))


async def get_pull(call: Call) -> Reply:
    row = target(call)
    if call.wants("diff"):
        text = await call.world.differences.text(call.repo.id, row.base_sha, row.head_sha)
        return Reply(content=text, media_type="application/vnd.github.diff; charset=utf-8")
    return Reply(data=await pull.shape(call.world, call.repo, row))


async def list_pulls(call: Call) -> Reply:
    rows = [row for row in pull.of(call.world, call.repo) if _matches(call, row)]
    if call.query.get("sort") == "updated":
        rows.sort(key=lambda row: pull.issue_of(call.world, row).updated_at, reverse=True)
    if call.query.get("direction") == "asc":
        rows.reverse()
    shown, headers = paging.cut(call, rows)
    return Reply(data=[pull.shape_short(call.world, call.repo, row) for row in shown], headers=headers)


def _matches(call: Call, row: Pull) -> bool:
    state, head, base = call.query.get("state", "open"), call.query.get("head"), call.query.get("base")
    owner, _, branch = (head or "").partition(":")
    return (
        state in {"all", pull.issue_of(call.world, row).state}
        and (not branch or (owner.lower(), branch) == (call.repo.owner_login.lower(), row.head))
        and base in {None, "", row.base}
    )


class PullChange(Body, frozen=True, kw_only=True):
    title: str | None = None
    body: str | None = None
    state: str | None = None
    base: str | None = None


async def change_pull(call: Call) -> Reply:
    row, change = target(call), call.body(PullChange)
    world, repo, actor = call.world, call.repo, call.actor
    entry = pull.issue_of(world, row)
    if change.state not in {None, "open", "closed"}:
        raise validation_failed("PullRequest", field="state")
    if change.base is not None and change.base != row.base:
        base_sha = world.refs.branch(repo.id, change.base)
        if base_sha is None:
            raise validation_failed("PullRequest", field="base")
        row = world.pulls.put(replace(row, base=change.base, base_sha=base_sha))
    title = checked_text(change.title or entry.title, resource="PullRequest", field="title", limit=256)
    body = change.body if "body" in call.json else entry.body
    entry = await issue.edit_text(world, repo, actor, entry, title=title, body=body)
    if change.state is not None and change.state != entry.state:
        _refuse_impossible(call, row, change.state)
        await issue.set_state(world, repo, actor, entry, change.state)
    return Reply(data=await pull.shape(world, repo, row))


def _refuse_impossible(call: Call, row: Pull, state: str) -> None:
    gone = call.world.refs.branch(call.repo.id, row.head) is None
    if state == "open" and (row.merged_at is not None or gone):
        message = "state cannot be changed. The pull request cannot be reopened."
        raise validation_failed("PullRequest", field="state", code="custom", message=message)


class Merge(Body, frozen=True, kw_only=True):
    commit_title: str | None = None
    commit_message: str | None = None
    sha: str | None = None
    merge_method: str = "merge"


async def merge_pull(call: Call) -> Reply:
    row, asked = target(call), call.body(Merge)
    if asked.merge_method not in {"merge", "squash", "rebase"}:
        raise validation_failed("PullRequest", field="merge_method")
    wish = merging.Wish(
        method=asked.merge_method, title=asked.commit_title, message=asked.commit_message, head=asked.sha
    )
    sha = await merging.merge_pull(call.world, call.repo, call.actor, row, wish)
    return Reply(data={"sha": sha, "merged": True, "message": "Pull Request successfully merged"})


async def is_merged(call: Call) -> Reply:
    if target(call).merged_at is None:
        raise Refusal(404, "Not Found")
    return Reply(status=204)


async def list_files(call: Call) -> Reply:
    row = target(call)
    changes = await call.world.differences.files(call.repo.id, row.base_sha, row.head_sha)
    shown, headers = paging.cut(call, changes)
    shapes = [commit_shapes.shape_file(call.world, call.repo, row.head_sha, change) for change in shown]
    return Reply(data=shapes, headers=headers)


async def list_commits(call: Call) -> Reply:
    row = target(call)
    listed = await commits.log(
        call.world.git, call.world.directory(call.repo.id), [row.head_sha, f"^{row.base_sha}"], limit=_MAX_COMMITS
    )
    return paging.reply(call, [commit_shapes.shape(call.world, call.repo, commit) for commit in reversed(listed)])


class Reviewers(Body, frozen=True, kw_only=True):
    reviewers: tuple[str, ...] = ()


async def request_reviewers(call: Call) -> Reply:
    row = target(call)
    asked = people(call, call.body(Reviewers).reviewers)
    if any(person.id == pull.issue_of(call.world, row).author for person in asked):
        raise Refusal(422, "Review cannot be requested from pull request author.")
    new = [person for person in dict.fromkeys(asked) if person.id not in row.reviewers]
    row = call.world.pulls.put(replace(row, reviewers=(*row.reviewers, *(person.id for person in new))))
    for person in new:
        shown = account.shape(call.world, person)
        await pull.tell(call.world, call.repo, call.actor, row.number, "review_requested", requested_reviewer=shown)
    return Reply(status=201, data=pull.shape_short(call.world, call.repo, row))
