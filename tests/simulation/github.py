"""GitHub as far as a run needs it, in memory: an HTTP handler and a git remote over one state, which writes the journal."""

import json
import re
from urllib.parse import parse_qs, unquote

import httpx

from infra.core.clock import HOUR, iso
from runner.refusals import MovedOn

OWNER, REPO = "acme", "shop"
BASE = "b" * 40
_NO_JSON = object()


class SimGitHub:
    def __init__(self, clock, journal):
        self._clock = clock
        self._journal = journal
        self.branches = {"main": BASE}
        self.commits = {}  # sha → run id
        self.pulls = []
        self.tokens = {}  # value → (expires, permissions)
        self.comments = []
        self.checks = []
        self.unknown = set()
        self.kept = {}  # what a commit holds

    # ── REST ──

    def handle(self, request):
        path = unquote(request.url.path).removeprefix("/api/v3")
        for method, pattern, handler in self._routes():
            if method == request.method and (match := re.fullmatch(pattern, path)):
                status, body = handler(request, *match.groups())
                break
        else:
            self.unknown.add(f"{request.method} {path}")
            status, body = 404, {"message": "Not Found"}
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        return httpx.Response(status, content=content, headers={"content-type": "application/json"})

    def _routes(self):
        repo = rf"/repos/{OWNER}/{REPO}"
        return (
            ("GET", "/app", lambda _: (200, {"id": 1, "slug": "pullwright"})),
            ("GET", r"/app/installations", lambda _: (200, [self._installation()])),
            ("GET", r"/users/(.+)", lambda _, login: (200, {"id": 41, "login": login})),
            ("GET", rf"{repo}/installation", lambda _: (200, self._installation())),
            ("POST", r"/app/installations/(\d+)/access_tokens", self._token),
            ("GET", repo, lambda _: (200, self._repository())),
            ("GET", rf"{repo}/commits/(.+)", self._commit),
            ("GET", rf"{repo}/collaborators/(.+)/permission", lambda *_: (200, {"permission": "write"})),
            ("GET", rf"{repo}/pulls", self._list_pulls),
            ("POST", rf"{repo}/pulls", self._open_pull),
            ("GET", rf"{repo}/pulls/(\d+)", self._pull),
            ("GET", rf"{repo}/issues/(\d+)/comments", self._list_comments),
            ("POST", rf"{repo}/issues/(\d+)/comments", self._comment),
            ("PATCH", rf"{repo}/issues/comments/(\d+)", self._edit_comment),
            ("POST", rf"{repo}/issues/(\d+)/reactions", lambda *_: (201, {"id": 1})),
            ("DELETE", rf"{repo}/issues/(\d+)/labels/(.+)", lambda *_: (200, [])),
            ("GET", rf"{repo}/commits/(.+)/check-runs", self._list_checks),
            ("POST", rf"{repo}/check-runs", self._add_check),
            ("GET", rf"{repo}/contents/(.+)", lambda *_: (404, {"message": "Not Found"})),
        )

    def _installation(self):
        permissions = {"contents": "write", "pull_requests": "write", "issues": "write", "metadata": "read"}
        return {"id": 5, "account": {"id": 6, "login": OWNER}, "permissions": permissions, "suspended_at": None}

    def _repository(self):
        return {
            "id": 77,
            "full_name": f"{OWNER}/{REPO}",
            "default_branch": "main",
            "private": True,
            "html_url": f"https://github.test/{OWNER}/{REPO}",
        }

    def _token(self, request, _installation):
        asked = json.loads(request.content)["permissions"]
        value = f"ghs_{len(self.tokens):06d}"
        expires = self._clock() + HOUR
        self.tokens[value] = (expires, asked)
        repositories = [{"id": 77, "full_name": f"{OWNER}/{REPO}"}]
        return 201, {"token": value, "expires_at": iso(expires), "permissions": asked, "repositories": repositories}

    def _commit(self, _request, ref):
        sha = self.branches.get(ref) or (ref if ref == BASE or ref in self.commits else None)
        return (200, sha) if sha else (404, {"message": "Not Found"})

    def _list_pulls(self, request):
        head = parse_qs(request.url.query.decode()).get("head", [""])[0].partition(":")[2]
        found = [self._shape(pull) for pull in self.pulls if not head or pull["head"] == head]
        return 200, found[::-1]

    def _open_pull(self, request):
        asked = json.loads(request.content)
        head, base = asked["head"], asked["base"]
        if head not in self.branches or base not in self.branches:
            return 422, {"message": "Validation Failed", "errors": [{"field": "head", "code": "invalid"}]}
        if any(pull["head"] == head and pull["base"] == base and pull["state"] == "open" for pull in self.pulls):
            return 422, {"message": f"A pull request already exists for {OWNER}:{head}."}
        pull = {"number": 100 + len(self.pulls), "head": head, "base": base, "state": "open"}
        pull |= {"title": asked["title"], "body": asked["body"]}
        self.pulls.append(pull)
        self._journal.add("pull", number=pull["number"], head=head, sha=self.branches[head], body=asked["body"][-200:])
        return 201, self._shape(pull)

    def _pull(self, _request, number):
        found = next((pull for pull in self.pulls if pull["number"] == int(number)), None)
        return (200, self._shape(found)) if found else (404, {"message": "Not Found"})

    def _list_comments(self, _request, issue):
        return 200, [comment for comment in self.comments if comment["issue"] == int(issue)]

    def _comment(self, request, issue):
        comment = {
            "id": 500 + len(self.comments),
            "issue": int(issue),
            "body": json.loads(request.content)["body"],
            "html_url": f"https://github.test/{OWNER}/{REPO}/issues/{issue}#{500 + len(self.comments)}",
            "user": {"id": 41, "login": "pullwright[bot]"},
        }
        self.comments.append(comment)
        self._journal.add("comment", issue=int(issue), id=comment["id"])
        return 201, comment

    def _edit_comment(self, request, number):
        found = next((comment for comment in self.comments if comment["id"] == int(number)), None)
        if found is None:
            return 404, {"message": "Not Found"}
        found["body"] = json.loads(request.content)["body"]
        return 200, found

    def _list_checks(self, _request, ref):
        found = [check for check in self.checks if check["head_sha"] == ref]
        return 200, {"total_count": len(found), "check_runs": found}

    def _add_check(self, request):
        check = {"id": 900 + len(self.checks), "status": "completed", **json.loads(request.content)}
        check |= {"app": {"slug": "pullwright"}, "html_url": "https://github.test/checks", "started_at": None}
        self.checks.append(check)
        self._journal.add("check", sha=check["head_sha"], external_id=check.get("external_id"))
        return 201, check

    def _shape(self, pull):
        where = {"id": 77, "full_name": f"{OWNER}/{REPO}"}
        return {
            "number": pull["number"],
            "html_url": f"https://github.test/{OWNER}/{REPO}/pull/{pull['number']}",
            "state": pull["state"],
            "title": pull["title"],
            "body": pull["body"],
            "head": {"ref": pull["head"], "sha": self.branches.get(pull["head"], BASE), "repo": where},
            "base": {"ref": pull["base"], "sha": self.branches[pull["base"]], "repo": where},
        }

    # ── git ──

    def push(self, token, branch, sha, *, expected, run_id, fence):
        """As ``git push --force-with-lease``: an empty ``expected`` means that the branch must not exist."""
        self._check(token, "write")
        there = self.branches.get(branch, "")
        if there not in {expected, sha}:
            raise MovedOn("(stale info)")
        self.branches[branch] = sha
        self.commits[sha] = run_id
        self._journal.add("push", branch=branch, sha=sha, run=run_id, fence=fence, forced=bool(there) and there != sha)

    def fetch(self, token):
        self._check(token, "read")

    def _check(self, token, level):
        expires, permissions = self.tokens.get(token, (0, {}))
        if expires <= self._clock() or permissions.get("contents") not in (
            {"write"} if level == "write" else {"read", "write"}
        ):
            from infra.core.errors import Forbidden

            raise Forbidden("The token does not open this.", code="git_forbidden")
