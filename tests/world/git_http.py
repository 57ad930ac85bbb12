"""A git remote over real HTTP: ``git http-backend`` behind a loopback server with tokens and a few faults."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ENV = {
    "PATH": os.environ["PATH"],
    "HOME": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    **{
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "Dev"), ("EMAIL", "dev@example.org"), ("DATE", "1700000000 +0000"))
    },
}


def git(*arguments: str, cwd: Path, env: dict[str, str] | None = None, stdin: bytes | None = None) -> str:
    """Runs git as a person would, for setting scenes and for checking what is really there."""
    done = subprocess.run(
        ["git", *arguments], cwd=cwd, env=ENV | (env or {}), input=stdin, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, f"git {arguments}: {done.stderr.decode()}"
    return done.stdout.decode("utf-8", "surrogateescape").strip()


@dataclass
class Remote:
    """What the server does and has seen. ``tokens``: token → may it push. Faults are used up by number of requests."""

    root: Path
    tokens: dict[str, bool] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    lose_answers: int = 0
    statuses: list[int] = field(default_factory=list)
    redirect_to: str = ""
    before_push: object = None
    port: int = 0

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}.git"

    def bare(self, name: str) -> Path:
        return self.root / f"{name}.git"

    def create(self, name: str, work: Path) -> str:
        """Publishes what lies in the folder ``work`` as the branch main; returns the commit."""
        bare = self.bare(name)
        git("init", "-q", "--bare", "--template=", "-b", "main", str(bare), cwd=work)
        self.add(name, work, "base")
        with (bare / "config").open("a") as config:
            config.write("[http]\n\treceivepack = true\n")
        return (bare / "refs" / "heads" / "main").read_text().strip()

    def add(self, name: str, work: Path, message: str) -> None:
        """One more commit on main, of all that lies in ``work``."""
        place = {"GIT_DIR": str(self.bare(name)), "GIT_WORK_TREE": str(work)}
        git("add", "-A", "-f", cwd=work, env=place)
        git("commit", "-q", "--allow-empty", "-m", message, cwd=work, env=place)

    def tip(self, name: str, branch: str) -> str:
        return git("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}", cwd=self.bare(name))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        return

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        world = self.server.world
        path, _, query = self.path.partition("?")
        body = self._body()
        world.seen.append(f"{self.command} {self.path} {self.headers.get('Authorization', '')}")
        pushing = "receive-pack" in self.path
        if world.redirect_to:
            return self._answer(302, {"Location": world.redirect_to + self.path})
        if world.statuses:
            return self._answer(world.statuses.pop(0), {})
        allowed = world.tokens.get(self._token())
        if allowed is None:
            return self._answer(401, {"WWW-Authenticate": 'Basic realm="git"'})
        if pushing and not allowed:
            return self._answer(403, {}, b"Permission to repo denied to bot.\n")
        if path.endswith("git-receive-pack") and callable(world.before_push):
            action, world.before_push = world.before_push, None
            action()
        status, headers, answer = self._backend(path, query, body)
        if path.endswith("git-receive-pack") and world.lose_answers:
            world.lose_answers -= 1
            self.close_connection = True
            return None
        return self._answer(status, headers, answer)

    def _token(self) -> str:
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        if kind != "Basic":
            return ""
        user, _, token = base64.b64decode(value).decode().partition(":")
        return token if user == "x-access-token" else ""

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _backend(self, path: str, query: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        env = ENV | {
            "GIT_PROJECT_ROOT": str(self.server.world.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_USER": "bot",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True, check=False)
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        status = int(re.match(r"\d+", headers.pop("Status", "200"))[0])  # type: ignore[index]  # CGI always starts with digits
        return status, headers, answer

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if not headers:
            self.send_header("Content-Type", "text/plain")  # git shows nothing else
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    world: Remote


class GitHttp:
    """Serves ``world`` while the block lasts."""

    def __init__(self, world: Remote) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.world = world
        world.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
