"""What the pages show."""

from __future__ import annotations

from infra.local.forge import account, check, comment, issue, label, review
from infra.local.forge.git import commits, diff
from infra.local.forge.git.diff import FileChange
from infra.local.forge.issue import Issue
from infra.local.forge.pages.html import Html, document, join, tag
from infra.local.forge.pull import Pull
from infra.local.forge.repository import Repository
from infra.local.forge.world import World

_MAX_FILES = 100
_MAX_LINES = 2_000
_MAX_COMMITS = 100


def address(repo: Repository, entry: Issue) -> str:
    return f"/{repo.full_name}/{'pull' if entry.is_pull else 'issues'}/{entry.number}"


def home(world: World) -> Html:
    rows = [
        tag("li", tag("a", repo.full_name, href=f"/{repo.full_name}"), tag("span", _visibility(repo), class_="label"))
        for repo in world.repositories
    ]
    return document("Repositories", tag("h1", "Repositories"), tag("ul", *rows, class_="rows"))


def repository_page(world: World, repo: Repository) -> Html:
    entries = issue.of(world, repo)
    clone = f"git clone {world.url}/{repo.full_name}.git"
    return document(
        repo.full_name,
        tag("h1", repo.full_name, tag("span", _visibility(repo), class_="label")),
        tag("p", repo.description or "No description.", class_="faint"),
        tag("p", tag("code", clone)),
        tag("h2", "Pull requests"),
        _rows(world, repo, [entry for entry in entries if entry.is_pull]),
        tag("h2", "Issues"),
        _rows(world, repo, [entry for entry in entries if not entry.is_pull]),
        tag("h2", f"Open an issue as {world.operator}"),
        _form(world, repo),
    )


def issue_page(world: World, repo: Repository, entry: Issue) -> Html:
    return document(
        entry.title, _heading(world, repo, entry, entry.state), _text(entry.body), *_conversation(world, entry)
    )


async def pull_page(world: World, repo: Repository, entry: Issue, row: Pull) -> Html:
    directory = world.directory(repo.id)
    listed = await commits.log(world.git, directory, [row.head_sha, f"^{row.base_sha}"], limit=_MAX_COMMITS)
    changes = await world.differences.files(repo.id, row.base_sha, row.head_sha)
    state = "merged" if row.merged_at else ("draft" if row.draft and entry.state == "open" else entry.state)
    return document(
        entry.title,
        _heading(world, repo, entry, state),
        tag("p", tag("code", row.head), " into ", tag("code", row.base), class_="faint"),
        _text(entry.body),
        *_conversation(world, entry),
        *_reviews(world, row),
        tag("h2", "Checks"),
        _checks(world, repo, row),
        tag("h2", f"Commits ({len(listed)})"),
        tag(
            "ul",
            *(
                tag("li", tag("code", commit.sha[:7]), " ", commit.message.split("\n")[0], _by(commit.author.name))
                for commit in reversed(listed)
            ),
            class_="rows",
        ),
        tag("h2", f"Files changed ({len(changes)})"),
        *(_file(change) for change in changes[:_MAX_FILES]),
        tag("p", f"{len(changes) - _MAX_FILES} more files.", class_="faint") if len(changes) > _MAX_FILES else Html(),
    )


def _visibility(repo: Repository) -> str:
    return "private" if repo.private else "public"


def _by(name: str) -> Html:
    return tag("span", f" {name}", class_="faint")


def _login(world: World, account_id: int) -> str:
    person = world.accounts.get(account_id)
    return person.login if person else "ghost"


def _rows(world: World, repo: Repository, entries: list[Issue]) -> Html:
    if not entries:
        return tag("p", "None yet.", class_="faint")
    return tag(
        "ul",
        *(
            tag(
                "li",
                tag("a", f"#{entry.number} {entry.title}", href=address(repo, entry)),
                tag("span", entry.state, class_=f"state {entry.state}"),
                *(_label(name) for name in _labels(world, entry)),
            )
            for entry in entries
        ),
        class_="rows",
    )


def _labels(world: World, entry: Issue) -> list[str]:
    return [row.name for row in map(world.labels.get, entry.labels) if row]


def _label(name: str) -> Html:
    return tag("span", name, class_="label")


def _heading(world: World, repo: Repository, entry: Issue, state: str) -> Html:
    when = account.stamp(entry.created_at) or ""
    return join(
        tag("p", tag("a", repo.full_name, href=f"/{repo.full_name}")),
        tag("h1", f"{entry.title} #{entry.number}", tag("span", state, class_=f"state {state}")),
        tag("p", f"{_login(world, entry.author)}, {when}", *map(_label, _labels(world, entry)), class_="faint"),
    )


def _text(body: str | None) -> Html:
    return tag("pre", body or "No description.", class_="text")


def _conversation(world: World, entry: Issue) -> list[Html]:
    rows = comment.of(world, entry)
    if not rows:
        return []
    return [
        tag("h2", f"Comments ({len(rows)})"),
        *(
            join(
                tag("p", f"{_login(world, row.author)}, {account.stamp(row.created_at)}", class_="faint"),
                _text(row.body),
            )
            for row in rows
        ),
    ]


def _reviews(world: World, row: Pull) -> list[Html]:
    rows = [entry for entry in review.of(world, row) if entry.state != "PENDING"]
    if not rows:
        return []
    comments = review.comments_of(world, row)
    shown = []
    for entry in rows:
        state = entry.state.lower().replace("_", " ")
        shown.append(tag("p", f"{_login(world, entry.author)}: {state}", class_="faint"))
        if entry.body:
            shown.append(_text(entry.body))
        shown += [
            join(tag("p", tag("code", f"{note.path}:{note.line}")), _text(note.body))
            for note in comments
            if note.review == entry.id
        ]
    return [tag("h2", f"Reviews ({len(rows)})"), *shown]


def _checks(world: World, repo: Repository, row: Pull) -> Html:
    runs = check.runs_on(world, repo, row.head_sha)
    if not runs:
        return tag("p", "None.", class_="faint")
    return tag(
        "ul",
        *(
            tag(
                "li",
                run.name,
                tag("span", run.conclusion or run.status, class_="label"),
                tag("p", str(run.output.get("title") or ""), class_="faint"),
            )
            for run in runs
        ),
        class_="rows",
    )


def _file(change: FileChange) -> Html:
    name = f"{change.previous} → {change.path}" if change.previous else change.path
    title = tag(
        "h3",
        tag("code", name),
        tag("span", f" {change.status}, +{change.additions} −{change.deletions}", class_="faint"),
    )
    if change.patch is None:
        return join(title, tag("p", "Not shown: binary, or nothing but its name or mode changed.", class_="faint"))
    lines = list(diff.lines(change.patch))
    more = f"… {len(lines) - _MAX_LINES} more lines" if len(lines) > _MAX_LINES else None
    shown = (tag("span", line.text, class_=_kind(line)) for line in lines[:_MAX_LINES])
    return join(title, tag("pre", *shown, tag("span", more) if more else None, class_="diff"))


def _kind(line: diff.Line) -> str:
    if line.old is None and line.new is None:
        return "hunk"
    if line.old is None:
        return "added"
    return "removed" if line.new is None else "same"


def _form(world: World, repo: Repository) -> Html:
    options = tag("datalist", *(tag("option", value=row.name) for row in label.of(world, repo)), id="labels")
    return tag(
        "form",
        tag("input", name="title", placeholder="Title", required="", maxlength="256", aria_label="Title"),
        tag("textarea", name="body", rows="5", placeholder="What is wrong, and how to see it", aria_label="Text"),
        tag(
            "input",
            name="label",
            placeholder="Label (for instance the one that starts a run)",
            list="labels",
            aria_label="Label",
        ),
        options,
        tag("button", "Open issue"),
        method="post",
        action=f"/{repo.full_name}/issues",
    )
