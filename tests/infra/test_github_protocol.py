"""GitHub's protocol as pure tables: what is asked, and what each answer means."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.core.clock import Instant
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
from infra.core.forge import CLONE_PERMISSIONS, NewPullRequest
from infra.core.repository import Repository
from infra.github import calls, conversation_calls
from infra.github.protocol import Answer, decipher, next_page, wait_seconds
from infra.github.words import words

REPO = Repository("octo-org", "widgets")
JSON = {"content-type": "application/json; charset=utf-8"}
SHA = "6dcb09b5b57875f334f61aebed695e2e4193db5e"


def answer(status, body=None, **headers):
    given_headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, JSON | given_headers, b"" if body is None else json.dumps(body).encode())


def said(text):
    return {"message": text, "documentation_url": "https://docs.github.com/rest"}


def pull_json(number=7, head="claude/run-1", repo=1, **more):
    return {
        "number": number,
        "html_url": f"https://github.com/octo-org/widgets/pull/{number}",
        "state": "open",
        "title": "Fix it",
        "body": None,
        "head": {"ref": head, "sha": SHA, "repo": {"id": repo, "full_name": "octo-org/widgets"} if repo else None},
        "base": {"ref": "main", "sha": SHA, "repo": {"id": 1, "full_name": "octo-org/widgets"}},
        "merged_at": None,
    } | more


class TestRefusals:
    @pytest.mark.parametrize(
        ("given_answer", "kind", "code", "carried"),
        [
            (answer(401, said("Bad credentials")), Upstream, "github_unauthorized", "Bad credentials"),
            (answer(403, said("Resource not accessible by integration")), Forbidden, "github_forbidden", "Resource not accessible"),
            (
                answer(403, said("Resource not accessible by integration"), x_accepted_github_permissions="contents=read; issues=write"),
                Forbidden,
                "missing_permission",
                "contents=read or issues=write",
            ),
            (answer(403, said("API rate limit exceeded for installation ID 1."), x_ratelimit_remaining="0"), RateLimited, "github_rate_limited", "rate limit"),
            (answer(403, said("You have exceeded a secondary rate limit.")), RateLimited, "github_rate_limited", "secondary"),
            (answer(403, said("You have triggered an abuse detection mechanism.")), RateLimited, "github_rate_limited", "abuse"),
            (answer(403, said("Please wait"), retry_after="30"), RateLimited, "github_rate_limited", "wait"),
            (answer(429, said("Too many requests")), RateLimited, "github_rate_limited", "Too many"),
            (answer(404, said("Not Found")), NotFound, "github_not_found", "the repository octo-org/widgets"),
            (answer(410, said("Issues are disabled")), NotFound, "github_not_found", "Issues are disabled"),
            (answer(451, said("Repository access blocked")), NotFound, "github_not_found", "blocked"),
            (answer(301, said("Moved Permanently"), location="https://evil.example/x"), NotFound, "github_moved", "moved"),
            (answer(307, said("Temporary Redirect")), NotFound, "github_moved", "moved"),
            (answer(409, said("Git Repository is empty.")), Conflict, "github_conflict", "is empty"),
            (
                answer(422, {"message": "Validation Failed", "errors": [{"resource": "PullRequest", "code": "custom", "message": "No commits between main and x"}]}),
                Invalid,
                "github_unprocessable",
                "Validation Failed; No commits between main and x.",
            ),
            (answer(500, said("Server Error")), Unavailable, "github_unavailable", "Server Error"),
            (answer(503), Unavailable, "github_unavailable", "503"),
            (Answer(502, {"content-type": "text/html"}, b"<html>Unicorn!</html>"), Unavailable, "github_unavailable", "no reason"),
            (answer(400, said("Problems parsing JSON")), Upstream, "github_error", "Problems parsing JSON"),
            (answer(418, said("I'm a teapot")), Upstream, "github_error", "418"),
        ],
    )  # fmt: skip
    def test_each_has_its_error_and_carries_the_words(self, given_answer, kind, code, carried):
        with pytest.raises(kind) as caught:
            decipher(calls.facts(REPO, "https://github.com"), given_answer)
        assert type(caught.value) is kind
        assert caught.value.code == code
        assert carried in caught.value.message

    def test_upstream_knows_the_status(self):
        with pytest.raises(Upstream) as caught:
            decipher(calls.facts(REPO, "https://github.com"), answer(401, said("Bad credentials")))
        assert caught.value.status == 401

    @pytest.mark.parametrize("status", [404, 409, 422])
    def test_a_ref_that_does_not_exist(self, status):
        """GitHub says 422 for an unknown ref and 409 where there is no commit at all."""
        with pytest.raises(NotFound):
            decipher(calls.resolve(REPO, "nowhere"), answer(status, said("No commit found for SHA: nowhere")))

    @given(st.integers(300, 599), st.dictionaries(st.sampled_from(["retry-after", "x-ratelimit-remaining", "x-ratelimit-reset", "date", "link", "content-type", "x-accepted-github-permissions"]), st.text()), st.binary())  # fmt: skip
    def test_nothing_but_our_own_errors(self, status, headers, body):
        with pytest.raises(PullwrightError) as caught:
            decipher(calls.pull(REPO, 1), Answer(status, headers, body))
        assert len(caught.value.message) < 2_000


class TestHalfAnswers:
    @pytest.mark.parametrize(
        ("headers", "body"),
        [
            ({"content-type": "text/html"}, b"<html>captive portal</html>"),
            ({}, b'{"number": 1}'),
            (JSON, json.dumps(pull_json()).encode()[:60]),
            (JSON, b""),
            (JSON, b"null"),
            (JSON, b"[]"),
            (JSON, json.dumps(pull_json(number="7")).encode()),
            (JSON, b'{"x":' + b"[" * 100_000),
            (JSON, json.dumps(pull_json()).encode().replace(b"Fix it", b"\xff\xfe")),
        ],
    )
    def test_are_upstream_errors(self, headers, body):
        with pytest.raises(Upstream) as caught:
            decipher(calls.pull(REPO, 7), Answer(200, headers, body))
        assert caught.value.code == "github_bad_answer"

    @given(st.binary())
    def test_any_bytes(self, body):
        with pytest.raises(Upstream):
            decipher(calls.pull(REPO, 7), Answer(200, JSON, body))


class TestWait:
    RESET = "1763600100"
    DATE = "Thu, 20 Nov 2025 00:54:30 GMT"  # 1763600070

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"retry-after": "30"}, 30),
            ({"retry-after": "0"}, 1),
            ({"retry-after": "9" * 300}, 3600),
            ({"retry-after": "²"}, 60),
            ({"retry-after": "soon"}, 60),
            ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": RESET, "date": DATE}, 30),
            ({"retry-after": "5", "x-ratelimit-remaining": "0", "x-ratelimit-reset": RESET, "date": DATE}, 5),
            ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1", "date": DATE}, 1),
            ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "9" * 12, "date": DATE}, 3600),
            ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": RESET, "date": "later"}, 60),
            ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": RESET}, 60),
            ({"x-ratelimit-remaining": "17", "x-ratelimit-reset": RESET, "date": DATE}, 60),
            ({}, 60),
        ],
    )
    def test_by_the_documented_order(self, headers, seconds):
        assert wait_seconds(headers) == seconds


class TestWords:
    @pytest.mark.parametrize(
        ("body", "text"),
        [
            (said("Not Found"), "Not Found."),
            ({"message": "Validation Failed", "errors": ["Could not resolve to a node"]}, "Validation Failed; Could not resolve to a node."),
            ({"message": "Invalid", "errors": [{"resource": "Issue", "field": "title", "code": "missing_field"}]}, "Invalid; Issue.title missing_field."),
            ({"message": "Validation Failed", "errors": "head sha can't be blank"}, "Validation Failed; head sha can't be blank."),
            ({"message": "a\nb\x1b[31m\u202e"}, "a b [31m."),
            ({"message": ""}, "no reason given."),
            ({"error": "x"}, "no reason given."),
            ({"message": 3}, "no reason that could be read."),
            ([], "no reason that could be read."),
        ],
    )  # fmt: skip
    def test_forms(self, body, text):
        assert words(json.dumps(body).encode()) == text

    def test_bounded(self):
        assert len(words(json.dumps(said("x" * 100_000)).encode())) < 600


class TestPaging:
    CALL = calls.pulls_from(REPO, "claude/run-1")

    def test_only_the_query_is_taken_over(self):
        link = '<https://evil.example/steal?page=1>; rel="prev", <https://evil.example/steal?page=3&cursor=a%2Bb>; rel="next"'
        following = next_page(self.CALL, answer(200, [], link=link))
        assert following is not None
        assert following.path == "/repos/octo-org/widgets/pulls"
        assert following.params == dict(self.CALL.params) | {"page": "3", "cursor": "a+b"}

    @pytest.mark.parametrize("link", ["", '<https://api.github.com/x?page=1>; rel="last"', ",;,;", "next"])
    def test_the_last_page(self, link):
        assert next_page(self.CALL, answer(200, [], link=link)) is None


class TestCalls:
    def test_paths(self):
        asked = {
            calls.facts(REPO, "").path: "/repos/octo-org/widgets",
            calls.installation(REPO).path: "/repos/octo-org/widgets/installation",
            calls.resolve(REPO, "feature/ö#1").path: "/repos/octo-org/widgets/commits/feature%2F%C3%B6%231",
            calls.resolve(REPO, "refs/heads/main").path: "/repos/octo-org/widgets/commits/main",
            calls.permission(REPO, "octo[bot]").path: "/repos/octo-org/widgets/collaborators/octo%5Bbot%5D/permission",
            calls.pull(REPO, 7).path: "/repos/octo-org/widgets/pulls/7",
            conversation_calls.comment(REPO, 7, "hello").path: "/repos/octo-org/widgets/issues/7/comments",
            calls.access_token(5, REPO, {}).path: "/app/installations/5/access_tokens",
        }
        assert list(asked) == list(asked.values())

    @pytest.mark.parametrize("ref", ["", "..", "a/../b", "-x", "a b", "a\nb", "a?b", "./x"])
    def test_no_odd_ref_becomes_a_path(self, ref):
        with pytest.raises(Invalid):
            calls.resolve(REPO, ref)

    @pytest.mark.parametrize("login", ["", ".", "..", "a/b", "a b", "a?", "x" * 200, "a\n", "ä"])
    def test_no_odd_login_becomes_a_path(self, login):
        with pytest.raises(Invalid):
            calls.permission(REPO, login)

    def test_the_clone_url_is_ours_to_say(self):
        body = {
            "id": 1, "full_name": "octo-org/widgets", "default_branch": "trunk", "private": True, "archived": False,
            "html_url": "https://ghe.example/octo-org/widgets", "clone_url": "https://evil.example/x.git",
        }  # fmt: skip
        facts = decipher(calls.facts(REPO, "https://ghe.example/"), answer(200, body))
        assert facts.clone_url == "https://ghe.example/octo-org/widgets.git"
        assert (facts.default_branch, facts.private, facts.archived) == ("trunk", True, False)

    @pytest.mark.parametrize(
        ("headers", "body"),
        [
            ({"content-type": "application/vnd.github.sha; charset=utf-8"}, SHA.encode()),
            (JSON, json.dumps({"sha": SHA, "files": []}).encode()),
        ],
    )
    def test_a_sha_in_either_form(self, headers, body):
        assert decipher(calls.resolve(REPO, "main"), Answer(200, headers, body)) == SHA

    def test_no_sha(self):
        with pytest.raises(Upstream):
            decipher(calls.resolve(REPO, "main"), answer(200, {"sha": "main"}))

    @pytest.mark.parametrize(
        ("body", "held"),
        [
            ({"permission": "admin", "role_name": "admin"}, "admin"),
            ({"permission": "write", "role_name": "maintain"}, "maintain"),
            ({"permission": "read", "role_name": "triage"}, "triage"),
            ({"permission": "write", "role_name": "release-manager"}, "write"),
            ({"permission": "write"}, "write"),
            ({"permission": "none", "role_name": ""}, "none"),
            ({"permission": "owner", "role_name": "owner"}, "none"),
        ],
    )
    def test_permissions(self, body, held):
        assert decipher(calls.permission(REPO, "octocat"), answer(200, body)) == held

    def test_pull_requests_of_this_branch_of_this_repository_only(self):
        body = [
            pull_json(9, merged_at="2026-01-02T03:04:05Z", state="closed"),
            pull_json(8, head="other"),
            pull_json(7, repo=2),
            pull_json(6, repo=None),
            pull_json(5),
        ]
        found = decipher(calls.pulls_from(REPO, "claude/run-1"), answer(200, body))
        assert [(pull.number, pull.state, pull.merged) for pull in found] == [(9, "closed", True), (5, "open", False)]
        assert found[1].body == ""

    def test_open_pull(self):
        new = NewPullRequest(title="T", body="B", head_branch="claude/run-1", base_branch="main", draft=True)
        call = calls.open_pull(REPO, new)
        assert call.json == {"title": "T", "body": "B", "head": "claude/run-1", "base": "main", "draft": True}
        assert not call.idempotent
        assert decipher(call, answer(201, pull_json())).head_sha == SHA

    def test_a_token_is_narrowed_and_checked(self):
        call = calls.access_token(5, REPO, CLONE_PERMISSIONS)
        assert call.json == {"repositories": ["widgets"], "permissions": {"contents": "read", "metadata": "read"}}
        given_token = {"token": "ghs_1234567_" + "e" * 500 + ".a-b_c", "expires_at": "2026-01-02T03:04:05.678Z"}
        token = decipher(
            call, answer(201, given_token | {"repositories": [{"id": 1, "full_name": "Octo-Org/Widgets"}]})
        )
        assert token.value == given_token["token"]
        assert token.expires_at == Instant(1767323045678)
        assert given_token["token"] not in repr(token)
        with pytest.raises(Upstream, match="another repository"):
            decipher(call, answer(201, given_token | {"repositories": [{"id": 2, "full_name": "elsewhere/widgets"}]}))

    @pytest.mark.parametrize("value", ["", "a b", "x\r\ny: z", "ö"])
    def test_a_token_that_would_break_a_header(self, value):
        with pytest.raises(Upstream):
            decipher(
                calls.access_token(5, REPO, {}), answer(201, {"token": value, "expires_at": "2026-01-02T03:04:05Z"})
            )

    def test_installations(self):
        body = {
            "id": 5,
            "account": {"id": 1, "login": "octo-org"},
            "permissions": {"contents": "write"},
            "suspended_at": None,
        }
        installed = decipher(calls.installation(REPO), answer(200, body))
        assert (installed.id, installed.account, installed.suspended) == (5, "octo-org", False)
        body |= {"suspended_at": "2026-01-02T03:04:05Z", "account": {"id": 1, "slug": "an-enterprise"}}
        assert decipher(calls.installation(REPO), answer(200, body)).suspended
