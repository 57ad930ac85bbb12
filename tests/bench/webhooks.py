"""Signed webhooks by the thousand, and the load generator that sends them (wrk, https://github.com/wg/wrk)."""

import hashlib
import hmac
import itertools
import json
import shutil
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

PAYLOADS = Path(__file__).resolve().parents[1] / "data" / "webhooks"
SCRIPT = Path(__file__).with_name("webhooks.lua")
SECRET = "the secret of the bench"
BODY_BYTES = 12 * 1024
CONNECTIONS = 16
LONGEST_SECONDS = 120

_SLOT = 1_234_567_890  # stands for the issue's number
_LOWEST = 1_000_000_000  # numbers of ten digits, so that all bodies are of one length
_NAMES = (
    *("archive", "assignees", "blobs", "branches", "collaborators", "comments", "commits", "compare", "contents"),
    *("contributors", "deployments", "downloads", "events", "forks", "git_commits", "git_refs", "git_tags", "hooks"),
    *("issue_comment", "issue_events", "issues", "keys", "labels", "languages", "merges", "milestones"),
    *("notifications", "pulls", "releases", "stargazers", "statuses", "subscribers", "subscription", "tags", "teams"),
)
_ACCOUNT_NAMES = (
    *("avatar", "followers", "following", "gists", "starred", "subscriptions", "organizations", "repos", "events"),
    "received_events",
)


@dataclass(frozen=True, kw_only=True)
class Load:
    """What came of ``sent`` requests. ``statuses``: how often each was the answer."""

    sent: int
    seconds: float
    statuses: dict[str, int]
    p50_ms: float
    p99_ms: float
    max_ms: float
    errors: int

    @property
    def per_second(self):
        return self.sent / self.seconds

    @property
    def problems(self):
        """Empty when each request had an answer."""
        answered = sum(self.statuses.values())
        if answered == self.sent and not self.errors:
            return []
        return [f"{self.sent} webhooks sent, {answered} answered, {self.errors} socket errors"]


class Webhooks:
    """An endless supply of deliveries, each of another issue."""

    def __init__(self, folder):
        self._folder = folder
        self._numbers = itertools.count(_LOWEST)

    def one(self):
        """Headers and body of a delivery that starts a run."""
        pieces = _pieces("opened", labelled=True)
        number = next(self._numbers)
        delivery, signature, _ = _line(pieces, number).split()
        return {
            "content-type": "application/json",
            "x-github-event": "issues",
            "x-github-delivery": delivery,
            "x-hub-signature-256": f"sha256={signature}",
        }, _body(pieces, number)

    def send(self, url, count, *, action="opened", labelled=True):
        """Sends ``count`` deliveries as fast as they are answered, ``CONNECTIONS`` at a time. ``action``: ``opened`` or
        ``labeled``; what is not ``labelled`` is not for us."""
        files = self._files(url, count, _pieces(action, labelled=labelled))
        said = subprocess.run(
            [
                *("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{LONGEST_SECONDS}s", "--timeout", f"{LONGEST_SECONDS}s"),
                *("--script", SCRIPT, url, "--", *files),
            ],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        result = next(line for line in said.splitlines() if line.startswith("RESULT "))
        return Load(sent=count, **json.loads(result.removeprefix("RESULT ")))

    def _files(self, url, count, pieces):
        head = (
            f"POST /webhook/github HTTP/1.1\r\nhost: {url.removeprefix('http://')}\r\naccept: */*\r\n"
            "user-agent: GitHub-Hookshot/044aadd\r\ncontent-type: application/json\r\nx-github-event: issues\r\n"
            "x-github-hook-id: 292430182\r\nx-github-hook-installation-target-type: integration\r\n"
        )
        files = [self._folder / name for name in ("head", "body", "requests")]
        files[0].write_text(head, newline="")
        files[1].write_bytes(b"\1".join(pieces))
        with files[2].open("w") as out:
            for _ in range(count):
                out.write(f"{_line(pieces, next(self._numbers))}\n")
        return files


def _pieces(action, *, labelled):
    text = json.dumps(payload(action, labelled=labelled), separators=(",", ":"))
    return text.encode().split(str(_SLOT).encode())


def _body(pieces, number):
    return str(number).encode().join(pieces)


def _line(pieces, number):
    signature = hmac.digest(SECRET.encode(), _body(pieces, number), hashlib.sha256).hex()
    return f"{uuid.uuid4()} {signature} {number}"


def payload(action, *, labelled):
    """GitHub's own example with our label and the addresses that its example leaves out; the issue's text fills it up."""
    found = json.loads((PAYLOADS / f"issues.{action}.json").read_text())
    api = "https://api.github.com/repos/octocat/hello-world"
    label = {**found["issue"]["labels"][0], "name": "claude" if labelled else "bug"}
    issue = found["issue"]
    for account in (
        issue["user"],
        issue["assignee"],
        *issue["assignees"],
        found["repository"]["owner"],
        found["sender"],
    ):
        account |= {f"{name}_url": f"https://api.github.com/users/octocat/{name}{{/other}}" for name in _ACCOUNT_NAMES}
    found["repository"] |= {f"{name}_url": f"{api}/{name}{{/sha}}" for name in _NAMES}
    found["installation"] = {"id": 7_654_321, "node_id": "MDIzOkludGVncmF0aW9uSW5zdGFsbGF0aW9uNzY1NDMyMQ=="}
    issue |= {
        "number": _SLOT,
        "labels": [label],
        "url": f"{api}/issues/{_SLOT}",
        "html_url": f"https://github.com/octocat/hello-world/issues/{_SLOT}",
        "body": "",
    }
    if action == "labeled":
        found["label"] = label
    missing = BODY_BYTES - len(json.dumps(found, separators=(",", ":")))
    issue["body"] = ("The totals on the second page are off by one cent. " * 300)[:missing]
    return found


def missing_program():
    """Why there is no load to be had here; empty when there is."""
    return "" if shutil.which("wrk") else "wrk is not on the PATH (Debian and Ubuntu: apt-get install wrk)"
