"""What only GraphQL can do: review threads. Queries are constants, values travel as variables.
https://docs.github.com/en/graphql/reference/objects#pullrequestreviewthread"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from infra.core.conversing import Thread
from infra.core.errors import Forbidden, NotFound, PullwrightError, RateLimited, Upstream
from infra.core.repository import Repository
from infra.github.protocol import GRAPHQL, Call
from infra.github.shapes import Shape
from infra.github.words import clean

T = TypeVar("T")

THREADS = """\
query reviewThreads($owner: String!, $name: String!, $number: Int!) {
  repository(owner: $owner, name: $name) {
    pullRequest(number: $number) {
      reviewThreads(last: 100) {
        nodes { id isResolved comments(first: 100) { nodes { databaseId } } }
      }
    }
  }
}"""

RESOLVE = """\
mutation resolveReviewThread($thread: ID!) {
  resolveReviewThread(input: { threadId: $thread }) { thread { id isResolved } }
}"""


class _Problem(Shape, frozen=True, kw_only=True):
    message: str = ""
    type: str = ""


class _Answer(Shape, frozen=True, kw_only=True):
    data: msgspec.Raw = msgspec.Raw(b"null")
    errors: tuple[_Problem, ...] = ()


class _Numbered(Shape, frozen=True, kw_only=True, rename="camel"):
    database_id: int | None = None


class _Comments(Shape, frozen=True, kw_only=True):
    nodes: tuple[_Numbered, ...]


class _Thread(Shape, frozen=True, kw_only=True, rename="camel"):
    id: str
    is_resolved: bool
    comments: _Comments

    def numbers(self) -> tuple[int, ...]:
        return tuple(node.database_id for node in self.comments.nodes if node.database_id is not None)


class _Threads(Shape, frozen=True, kw_only=True):
    nodes: tuple[_Thread, ...]


class _Pull(Shape, frozen=True, kw_only=True, rename="camel"):
    review_threads: _Threads


class _Repository(Shape, frozen=True, kw_only=True, rename="camel"):
    pull_request: _Pull


class _Data(Shape, frozen=True, kw_only=True):
    repository: _Repository


def thread_of(repository: Repository, pull: int, comment: int) -> Call[Thread | None]:
    """Among the pull request's newest hundred threads."""

    def value(data: bytes) -> Thread | None:
        for thread in msgspec.json.decode(data, type=_Data).repository.pull_request.review_threads.nodes:
            numbers = thread.numbers()
            if comment in numbers:
                return Thread(id=thread.id, comments=numbers, resolved=thread.is_resolved)
        return None

    variables = {"owner": repository.owner, "name": repository.name, "number": int(pull)}
    about = f"the review threads of #{pull} of {repository}"
    return _call(THREADS, "reviewThreads", variables, about=about, read=value, quiet=True)


def resolve_thread(thread: str) -> Call[None]:
    variables = {"thread": thread}
    return _call(RESOLVE, "resolveReviewThread", variables, about="the review thread", read=lambda _: None)


def _call(
    query: str,
    name: str,
    variables: Mapping[str, object],
    *,
    about: str,
    read: Callable[[bytes], T],
    quiet: bool = False,
) -> Call[T]:
    """A refusal comes with status 200 and ``errors``. https://docs.github.com/en/graphql/guides/using-the-graphql-api-for-discussions"""

    def value(body: bytes) -> T:
        answer = msgspec.json.decode(body, type=_Answer)
        if answer.errors:
            raise _refusal(answer.errors[0], about)
        return read(bytes(answer.data))

    return Call(
        method="POST",
        path=GRAPHQL,
        json={"query": query, "operationName": name, "variables": dict(variables)},
        about=about,
        read=value,
        repeatable=True,
        quiet=quiet,
    )


def _refusal(problem: _Problem, about: str) -> PullwrightError:
    said = clean(problem.message)
    match problem.type:
        case "NOT_FOUND":
            return NotFound(f"GitHub does not show {about}: {said}", code="github_not_found")
        case "FORBIDDEN" | "INSUFFICIENT_SCOPES":
            return Forbidden(f"GitHub does not allow {about}: {said}", code="github_forbidden")
        case "RATE_LIMITED":
            return RateLimited(f"GitHub asks to slow down: {said}", code="github_rate_limited")
        case _:
            return Upstream(f"GitHub answered with an error about {about}: {said}", code="github_error", status=200)
