"""The routes of the pages, and the one form: open an issue as the person at this machine."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs

from starlette.responses import PlainTextResponse, RedirectResponse, Response

from infra.local.forge import account, issue, pull, repository
from infra.local.forge.git.cgi import Receive, Scope, Send
from infra.local.forge.pages import views
from infra.local.forge.pages.html import Html, document, tag
from infra.local.forge.repository import Repository
from infra.local.forge.world import World

_STYLE = Path(__file__).with_name("style.css")
_PAGE = re.compile(r"/([^/]+)/([^/]+?)(?:/(issues|pull)(?:/([0-9]{1,9})(\.diff|\.patch)?)?)?/?")
_MAX_FORM = 256 * 1024
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}


class Site:
    """An ASGI application. It answers only under the forge's own address, so that no other site can read it."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if headers.get("host", "") not in own_hosts(self._world):
            response = _message(421, "This address is not the forge's own.")
        elif scope["method"] == "POST":
            response = await self._post(scope["path"], headers, receive)
        elif scope["method"] in {"GET", "HEAD"}:
            response = await self._get(scope["path"])
        else:
            response = _message(405, "These pages are for reading.")
        response.headers.update(_HEADERS)
        await response(scope, receive, send)

    async def _get(self, path: str) -> Response:
        if path == "/_forge/style.css":
            return Response(_STYLE.read_text(), media_type="text/css")
        if path == "/":
            return _page(views.home(self._world))
        repo, kind, number, suffix = self._named(path)
        if repo is None:
            return _message(404, "There is nothing here.")
        if not number:
            return _page(views.repository_page(self._world, repo))
        entry = issue.find(self._world, repo, int(number))
        if entry is None:
            return _message(404, f"{repo.full_name} has no number {number}.")
        if entry.is_pull != (kind == "pull"):
            return RedirectResponse(views.address(repo, entry), status_code=302)
        row = pull.find(self._world, repo, entry.number)
        if row is None:
            return _page(views.issue_page(self._world, repo, entry))
        if suffix:
            text = await self._world.differences.text(repo.id, row.base_sha, row.head_sha)
            return PlainTextResponse(text.decode(errors="replace"))
        return _page(await views.pull_page(self._world, repo, entry, row))

    async def _post(self, path: str, headers: dict[str, str], receive: Receive) -> Response:
        """Browsers name the page a form comes from; only the forge's own may post."""
        if headers.get("origin", "") not in {f"http://{host}" for host in own_hosts(self._world)}:
            return _message(403, "Forms are taken only from the forge's own pages (Origin does not match).")
        repo, kind, number, _ = self._named(path)
        if repo is None or kind != "issues" or number:
            return _message(404, "There is nothing here.")
        form = parse_qs((await _read_form(receive)).decode(errors="replace"))
        title, body, label = (form.get(name, [""])[0].strip() for name in ("title", "body", "label"))
        if not title or len(title) > 256 or len(label) > 50:
            return _message(422, "An issue needs a title (at most 256 characters); a label has at most 50.")
        you = account.ensure(self._world, self._world.operator)
        entry = await issue.open_issue(
            self._world, repo, you, title=title, body=body or None, labels=[label] if label else []
        )
        return RedirectResponse(views.address(repo, entry), status_code=303)

    def _named(self, path: str) -> tuple[Repository | None, str, str, str]:
        match = _PAGE.fullmatch(path)
        if match is None:
            return None, "", "", ""
        owner, name, kind, number, suffix = match.groups(default="")
        return repository.find(self._world, owner, name), kind, number, suffix


def own_hosts(world: World) -> set[str]:
    """Guards against other names that lead to this machine (DNS rebinding)."""
    host = world.url.partition("://")[2]
    _, _, port = host.rpartition(":")
    return {host, f"127.0.0.1:{port}", f"localhost:{port}"}


async def _read_form(receive: Receive) -> bytes:
    raw = b""
    while len(raw) <= _MAX_FORM:
        message = await receive()
        raw += bytes(message.get("body", b""))
        if not message.get("more_body", False):
            return raw
    return b""


def _page(content: Html) -> Response:
    return Response(content, media_type="text/html")


def _message(status: int, sentence: str) -> Response:
    return Response(document(str(status), tag("p", sentence)), status_code=status, media_type="text/html")
