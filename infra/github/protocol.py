"""GitHub's REST protocol as values: a ``Call`` says what to ask, ``decipher`` what the answer means. No I/O.

2xx  the value, or Upstream when it is not what GitHub documents
401  Upstream       our own credentials are wrong; the person who called us did nothing wrong
403  Forbidden      with the missing permission – or RateLimited, which GitHub also says this way
404  NotFound       also 410, 451, and redirects: a renamed repository is told, not followed
409  Conflict
422  Invalid        with the texts of ``errors``
429  RateLimited
5xx  Unavailable
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import Generic, NoReturn, TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec

from infra.core.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    PullwrightError,
    RateLimited,
    Unavailable,
    Upstream,
)
from infra.github.words import clean, words

T = TypeVar("T")

JSON = "application/vnd.github+json"
GRAPHQL = "/graphql"
"""Path of the one address that GraphQL has."""

API_VERSION = "2022-11-28"
"""https://docs.github.com/en/rest/about-the-rest-api/api-versions"""

_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_UNSPECIFIED_WAIT = 60.0
"""Seconds, where GitHub does not say how long: "wait for at least one minute".
https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api"""
_LONGEST_WAIT = 3600.0
_LIMIT_WORDS = ("rate limit", "abuse detection")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One request and how to read its answer.

    ``path`` starts with a slash and is made of checked names only. ``about`` is what is asked for, in words for an error
    message. ``read`` turns the body of a success into the value. ``absent``: statuses that mean "there is no such thing".
    ``repeatable``: a POST or PATCH that may be sent again when its answer is lost. ``quiet``: leaves nothing that people see.
    """

    method: str
    path: str
    about: str
    read: Callable[[bytes], T]
    params: Mapping[str, str] = field(default_factory=dict)
    json: Mapping[str, object] | None = None
    accept: str = JSON
    absent: frozenset[int] = frozenset({404, 410, 451})
    repeatable: bool = False
    quiet: bool = False

    @property
    def idempotent(self) -> bool:
        return self.repeatable or self.method in _IDEMPOTENT

    @property
    def writes(self) -> bool:
        """Leaves something behind that people see; GitHub limits that more strictly."""
        return self.method != "GET" and not self.quiet

    def headers(self, authorization: str, user_agent: str) -> dict[str, str]:
        """``authorization`` empty: for the few calls that take none."""
        proof = {"authorization": authorization} if authorization else {}
        return {"accept": self.accept, **proof, "user-agent": user_agent, "x-github-api-version": API_VERSION}


@dataclass(frozen=True, slots=True)
class Answer:
    """``headers`` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


def decipher(call: Call[T], answer: Answer) -> T:
    """The value of a success; raises one of the errors in the table above, with GitHub's own words."""
    if not 200 <= answer.status < 300:
        raise refusal(call, answer)
    if answer.body and not _readable(answer):
        _unreadable(call, answer, f"its content type is {clean(answer.headers.get('content-type', '')) or 'missing'}")
    try:
        return call.read(answer.body)
    except msgspec.ValidationError as error:
        _unreadable(call, answer, str(error), error)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        _unreadable(call, answer, "it is incomplete or not JSON", error)


def next_page(call: Call[T], answer: Answer) -> Call[T] | None:
    """The same call for the page after this one. Only the query of the ``next`` link is taken over, so that no answer
    can send us, and our token, to another place. https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api"""
    for link in answer.headers.get("link", "").split(","):
        target, _, attributes = link.partition(";")
        if 'rel="next"' in attributes:
            query = urlsplit(target.strip().strip("<>")).query
            return replace(call, params=dict(call.params) | dict(parse_qsl(query)))
    return None


def refusal(call: Call[T], answer: Answer) -> PullwrightError:
    """What an answer other than a success means, as the error to raise."""
    status, said = answer.status, words(answer.body)
    if status in {403, 429} and _is_limit(answer, said):
        wait = wait_seconds(answer.headers)
        return RateLimited(
            f"GitHub asks to slow down: {said}",
            code="github_rate_limited",
            hint=f"Try again in {wait:.0f} seconds.",
            retry_after=wait,
        )
    if status in call.absent:
        return NotFound(f"GitHub does not show {call.about}: {said}", code="github_not_found")
    if 300 <= status < 400:
        return NotFound(
            f"GitHub says that {call.about} has moved.",
            code="github_moved",
            hint="Was the repository renamed or transferred? Use its new owner and name.",
        )
    if status == 401:
        return Upstream(
            f"GitHub did not accept our credentials: {said}",
            code="github_unauthorized",
            hint="Check the App's id, its private key and this machine's clock; was the App uninstalled?",
            status=status,
        )
    if status == 403:
        return _forbidden(call, answer, said)
    if status == 409:
        return Conflict(f"GitHub cannot do that now for {call.about}: {said}", code="github_conflict")
    if status == 422:
        return Invalid(f"GitHub refused {call.about}: {said}", code="github_unprocessable")
    if status >= 500:
        return Unavailable(
            f"GitHub has a problem of its own ({status}): {said}",
            code="github_unavailable",
            hint="See https://www.githubstatus.com; it is safe to try again.",
        )
    return Upstream(f"GitHub answered {status} when asked for {call.about}: {said}", code="github_error", status=status)


def wait_seconds(headers: Mapping[str, str]) -> float:
    """How long GitHub wants to be left alone, by the order that it documents: ``retry-after``, else the reset time when
    nothing remains, else a minute. The reset is measured on GitHub's own clock (``date``), so ours does not matter."""
    after = headers.get("retry-after", "")
    if after.isascii() and after.isdigit():
        return min(max(float(after[:9]), 1.0), _LONGEST_WAIT)
    reset, remaining = headers.get("x-ratelimit-reset", ""), headers.get("x-ratelimit-remaining")
    if remaining == "0" and reset.isascii() and reset.isdigit() and (now := _date(headers)) is not None:
        return min(max(float(reset[:12]) - now, 1.0), _LONGEST_WAIT)
    return _UNSPECIFIED_WAIT


def _date(headers: Mapping[str, str]) -> float | None:
    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp()
    except ValueError:
        return None


def _is_limit(answer: Answer, said: str) -> bool:
    limited = answer.status == 429 or "retry-after" in answer.headers
    return (
        limited
        or answer.headers.get("x-ratelimit-remaining") == "0"
        or any(word in said.lower() for word in _LIMIT_WORDS)
    )


def _forbidden(call: Call[T], answer: Answer, said: str) -> Forbidden:
    # https://github.blog/changelog/2023-08-10-x-accepted-github-permissions-header-for-fine-grained-permission-actors/
    needed = clean(answer.headers.get("x-accepted-github-permissions", ""))
    if not needed:
        return Forbidden(f"GitHub does not allow {call.about}: {said}", code="github_forbidden")
    alternatives = " or ".join(part.strip() for part in needed.split(";") if part.strip())
    return Forbidden(
        f"GitHub does not allow {call.about}: {said} It takes {alternatives}.",
        code="missing_permission",
        hint=f"Grant the GitHub App {alternatives}, then accept the change in the installation's settings.",
    )


def _readable(answer: Answer) -> bool:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json") or kind.startswith("application/vnd.github")


def _unreadable(call: Call[T], answer: Answer, reason: str, cause: Exception | None = None) -> NoReturn:
    raise Upstream(
        f"GitHub's answer about {call.about} cannot be read: {reason}.",
        code="github_bad_answer",
        hint="Is GITHUB_API_URL the REST API (https://HOST/api/v3 on GitHub Enterprise)?",
        status=answer.status,
    ) from cause
