"""The client against a scripted GitHub on a real socket: what it sends, repeats, remembers and never does."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from infra.core.clock import HOUR, MINUTE, Instant, iso, later
from infra.core.errors import Forbidden, Invalid, NotFound, RateLimited, Unavailable, Upstream
from infra.core.forge import CLONE_PERMISSIONS, AccessToken, BotIdentity, NewPullRequest
from infra.core.repository import Repository
from infra.github.app_auth import AppCredentials
from infra.github.client import GitHubForge, GitHubRepository, http_client
from infra.github.transport import Transport

REPO = Repository("octo-org", "widgets")
REPO_PATH = "/api/v3/repos/octo-org/widgets"
TOKENS = "/api/v3/app/installations/5/access_tokens"
SHA = "6dcb09b5b57875f334f61aebed695e2e4193db5e"
GIT_URL = "https://ghe.example"
NEW = NewPullRequest(title="Fix it", body="Closes #1", head_branch="claude/run-1", base_branch="main")


@dataclass
class Seen:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    json: object


@dataclass
class Reply:
    """``cut``: the connection breaks after that many bytes of the body."""

    status: int = 200
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


Answerer = Callable[[Seen], "Reply | asyncio.Future[Reply]"]


class ScriptedGitHub:
    """Answers by script: a list is used up to its last reply, which then stays; a function is asked each time."""

    def __init__(self):
        self.seen: list[Seen] = []
        self.script: dict[tuple[str, str], list[Reply] | Answerer] = {}
        self.busy = self.most_busy = 0

    def on(self, method: str, path: str, *replies: Reply) -> None:
        self.script[method, path] = list(replies)

    def count(self, method: str, path: str) -> int:
        return sum(seen.method == method and seen.path == path for seen in self.seen)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            seen = await self._read(reader)
            self.seen.append(seen)
            await self._write(writer, await self._reply(seen))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.busy -= 1
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Seen:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        return Seen(method, parts.path, query, headers, json.loads(body) if body else None)

    async def _reply(self, seen: Seen) -> Reply:
        known = self.script.get((seen.method, seen.path))
        if known is None:
            return Reply(404, {"message": "Not Found"})
        if callable(known):
            reply = known(seen)
            return reply if isinstance(reply, Reply) else await reply
        return known.pop(0) if len(known) > 1 else known[0]

    async def _write(self, writer: asyncio.StreamWriter, reply: Reply) -> None:
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        body = b"" if reply.status == 304 else body
        headers = {"content-type": "application/json", "connection": "close", "content-length": str(len(body))}
        lines = [
            f"HTTP/1.1 {reply.status} X",
            *(f"{name}: {value}" for name, value in (headers | reply.headers).items()),
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body[: reply.cut])
        await writer.drain()


class Time:
    """Moves only when somebody sleeps, or a test says so."""

    def __init__(self):
        self.now = Instant(1_763_600_000_000)
        self.slept: list[float] = []

    def __call__(self) -> Instant:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        wake = later(self.now, seconds * 1000)
        await asyncio.sleep(0)
        self.now = max(self.now, wake)


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def credentials(key):
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return AppCredentials("42", key.private_bytes(*form).decode())


@pytest.fixture
async def github():
    """A scripted GitHub that mints tokens; its address is in ``url``."""
    scripted = ScriptedGitHub()
    server = await asyncio.start_server(scripted.serve, "127.0.0.1", 0)
    scripted.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v3"
    scripted.server = server
    yield scripted
    server.close()
    await server.wait_closed()


@pytest.fixture
def clock():
    return Time()


@pytest.fixture
async def transport(github, clock) -> AsyncIterator[Transport]:
    """Waits half a second of real time for an answer; its pauses pass in the clock's time."""
    made = Transport(
        api_url=github.url,
        http=http_client(),
        ticks=clock,
        sleep=clock.sleep,
        entropy=lambda _: b"\x80",
        timeout=httpx.Timeout(0.5),
    )
    yield made
    await made.close()


@pytest.fixture
def forge(github, transport, credentials, clock):
    minted = Counter()

    def mint(seen: Seen) -> Reply:
        minted[seen.path] += 1
        repository = {"id": 1, "full_name": f"octo-org/{(seen.json.get('repositories') or ['x'])[0]}"}
        token = {
            "token": f"ghs_{sum(minted.values())}",
            "expires_at": iso(later(clock(), HOUR)),
            "repositories": [repository],
        }
        return Reply(201, token)

    github.script["POST", TOKENS] = mint
    github.script["POST", TOKENS.replace("/5/", "/6/")] = mint
    github.on("GET", REPO_PATH, Reply(200, facts_json()))
    return GitHubForge(transport=transport, git_url=GIT_URL, credentials=credentials, clock=clock)


@pytest.fixture
def repository(transport):
    """As a runner sees it: one fixed token."""

    async def fixed() -> AccessToken:
        return AccessToken(value="ghs_fixed", expires_at=Instant(0))

    return GitHubRepository(
        transport=transport, git_url=GIT_URL, repository=REPO, token_source=fixed, pace=transport.pace()
    )


def facts_json(**more):
    html_url = "https://ghe.example/octo-org/widgets"
    names = {"id": 1, "full_name": "octo-org/widgets", "html_url": html_url}
    return names | {"default_branch": "main", "private": False, "archived": False} | more


def pull_json(number=7, *, base="main", state="open", head="claude/run-1"):
    repo = {"id": 1, "full_name": "octo-org/widgets"}
    return {
        "number": number,
        "html_url": f"https://ghe.example/octo-org/widgets/pull/{number}",
        "state": state,
        "title": "Fix it",
        "body": "Closes #1",
        "head": {"ref": head, "sha": SHA, "repo": repo},
        "base": {"ref": base, "sha": SHA, "repo": repo},
        "merged_at": None,
    }


def refused(message, status=422, **headers):
    return Reply(status, {"message": message}, {name.replace("_", "-"): value for name, value in headers.items()})


class TestWhatIsSent:
    async def test_headers_and_jwt(self, github, forge, key, clock):
        installed = {"id": 5, "account": {"id": 1, "login": "octo-org"}, "permissions": {"contents": "write"}}
        github.on("GET", f"{REPO_PATH}/installation", Reply(200, installed))
        assert (await forge.installation(REPO)).id == 5
        (seen,) = github.seen
        assert seen.headers["accept"] == "application/vnd.github+json"
        assert seen.headers["user-agent"].startswith("pullwright/")
        assert seen.headers["x-github-api-version"] == "2022-11-28"
        scheme, _, token = seen.headers["authorization"].partition(" ")
        unchecked = {"verify_exp": False, "verify_iat": False}
        claims = jwt.decode(token, key.public_key(), algorithms=["RS256"], options=unchecked)
        assert scheme == "Bearer"
        assert claims["iss"] == "42"
        assert claims["iat"] < clock() // 1000 < claims["exp"] <= clock() // 1000 + 600

    async def test_encoded_paths_arrive_as_made(self, github, repository):
        path = f"{REPO_PATH}/commits/feature%2F%C3%B6"
        github.on("GET", path, Reply(200, SHA.encode(), {"content-type": "application/vnd.github.sha"}))
        assert await repository.resolve("feature/ö") == SHA
        assert github.seen[0].headers["accept"] == "application/vnd.github.sha"

    async def test_comment(self, github, repository):
        github.on("POST", f"{REPO_PATH}/issues/3/comments", Reply(201, {"id": 99}))
        assert await repository.comment(3, "Hello – “you”") == 99
        assert github.seen[0].json == {"body": "Hello – “you”"}
        assert github.seen[0].headers["authorization"] == "Bearer ghs_fixed"

    async def test_connect(self, github):
        async def fixed():
            return AccessToken(value="ghs_mine", expires_at=Instant(0))

        github.on("GET", REPO_PATH, Reply(200, facts_json()))
        mine = GitHubRepository.connect(api_url=github.url, git_url=GIT_URL, repository=REPO, token_source=fixed)
        try:
            assert (await mine.facts()).clone_url == "https://ghe.example/octo-org/widgets.git"
        finally:
            await mine.close()


async def test_a_proxy_is_not_asked_for_this_machine(github, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with http_client() as http:
        assert (await http.get(f"{github.url}/x")).status_code == 404


class TestApp:
    async def test_not_installed(self, forge):
        with pytest.raises(NotFound) as caught:
            await forge.installation(REPO)
        assert caught.value.code == "app_not_installed"
        assert "octo-org/widgets" in caught.value.message
        assert caught.value.hint

    async def test_tokens_are_never_cached(self, github, forge):
        first = await forge.access_token(5, REPO, CLONE_PERMISSIONS)
        second = await forge.access_token(5, REPO, CLONE_PERMISSIONS)
        assert first.value != second.value
        asked = {"repositories": ["widgets"], "permissions": {"contents": "read", "metadata": "read"}}
        assert [seen.json for seen in github.seen] == [asked, asked]

    @pytest.mark.parametrize(
        ("reply", "kind", "told"),
        [
            (refused("The permissions requested are not granted to this installation."), Forbidden, ("missing_permission", "contents: read")),
            (refused("There is at least one repository that does not exist or is not accessible to the parent installation."), NotFound, ("app_not_installed", "octo-org/widgets")),
            (refused("Not Found", 404), NotFound, ("app_not_installed", "octo-org/widgets")),
            (refused("This installation has been suspended", 403), Forbidden, ("github_forbidden", "suspended")),
            (refused("A JSON web token could not be decoded", 401), Upstream, ("github_unauthorized", "JSON web token")),
        ],
    )  # fmt: skip
    async def test_refused_tokens(self, github, forge, reply, kind, told):
        github.on("POST", TOKENS, reply)
        with pytest.raises(kind) as caught:
            await forge.access_token(5, REPO, CLONE_PERMISSIONS)
        assert caught.value.code == told[0]
        assert told[1] in caught.value.message

    async def test_bot_identity_is_asked_once(self, github, forge):
        installed = {"id": 5, "account": {"id": 1, "login": "octo-org"}, "permissions": {}}
        gone = installed | {"id": 4, "suspended_at": "2026-01-02T03:04:05Z"}
        github.on("GET", "/api/v3/app", Reply(200, {"id": 42, "slug": "pullwright"}))
        github.on("GET", "/api/v3/app/installations", Reply(200, [gone, installed]))
        github.on("GET", "/api/v3/users/pullwright%5Bbot%5D", Reply(200, {"id": 777, "login": "pullwright[bot]"}))
        expected = BotIdentity(name="pullwright[bot]", email="777+pullwright[bot]@users.noreply.github.com")
        assert await forge.bot_identity() == expected
        asked = len(github.seen)
        assert await forge.bot_identity() == expected
        assert len(github.seen) == asked
        assert github.seen[-1].headers["authorization"] == "Bearer ghs_1"

    async def test_no_bot_without_an_installation(self, github, forge):
        github.on("GET", "/api/v3/app", Reply(200, {"id": 42, "slug": "pullwright"}))
        github.on("GET", "/api/v3/app/installations", Reply(200, []))
        with pytest.raises(NotFound, match="installed nowhere"):
            await forge.bot_identity()


class TestManagedTokens:
    async def test_made_once_for_many(self, github, forge):
        await asyncio.gather(*(forge.on(5, REPO).facts() for _ in range(20)))
        assert github.count("POST", TOKENS) == 1
        assert github.count("GET", REPO_PATH) == 20

    async def test_renewed_before_the_end(self, github, forge, clock):
        await forge.on(5, REPO).facts()
        clock.now = later(clock.now, 54 * MINUTE)
        await forge.on(5, REPO).facts()
        assert github.count("POST", TOKENS) == 1
        clock.now = later(clock.now, 2 * MINUTE)
        await forge.on(5, REPO).facts()
        assert github.count("POST", TOKENS) == 2

    async def test_one_for_each_repository_and_installation(self, github, forge):
        other = Repository("octo-org", "gears")
        github.on("GET", "/api/v3/repos/octo-org/gears", Reply(200, facts_json()))
        await forge.on(5, REPO).facts()
        await forge.on(5, other).facts()
        await forge.on(6, REPO).facts()
        gets = [seen.headers["authorization"] for seen in github.seen if seen.method == "GET"]
        assert len(set(gets)) == 3
        minted = [seen.json["repositories"] for seen in github.seen if seen.method == "POST"]
        assert minted == [["widgets"], ["gears"], ["widgets"]]

    async def test_a_refused_one_is_replaced_once(self, github, forge):
        github.on("GET", REPO_PATH, Reply(200, facts_json()), refused("Bad credentials", 401), Reply(200, facts_json()))
        await forge.on(5, REPO).facts()
        await forge.on(5, REPO).facts()
        assert github.count("POST", TOKENS) == 2
        github.on("GET", REPO_PATH, refused("Bad credentials", 401))
        with pytest.raises(Upstream, match="Bad credentials"):
            await forge.on(5, REPO).facts()

    async def test_a_runner_has_only_the_one(self, github, repository):
        github.on("GET", REPO_PATH, refused("Bad credentials", 401))
        with pytest.raises(Upstream):
            await repository.facts()
        assert len(github.seen) == 1


class TestConditionalRequests:
    async def test_an_unchanged_answer_is_used_again(self, github, repository):
        github.on(
            "GET",
            REPO_PATH,
            Reply(200, facts_json(), {"etag": 'W/"1"'}),
            Reply(304),
            Reply(200, facts_json(archived=True), {"etag": 'W/"2"'}),
            Reply(304),
        )
        assert [(await repository.facts()).archived for _ in range(4)] == [False, False, True, True]
        asked = [seen.headers.get("if-none-match") for seen in github.seen]
        assert asked == [None, 'W/"1"', 'W/"1"', 'W/"2"']

    async def test_remembered_answers_are_bounded(self, github, repository):
        for number in range(1, 301):
            github.on("GET", f"{REPO_PATH}/pulls/{number}", Reply(200, pull_json(number), {"etag": f'"{number}"'}))
        for number in range(1, 301):
            await repository.pull(number)
        await repository.pull(300)
        await repository.pull(1)
        assert [seen.headers.get("if-none-match") for seen in github.seen[-2:]] == ['"300"', None]


async def test_paging(github, repository):
    def page(seen: Seen) -> Reply:
        number = int(seen.query.get("page", 1))
        pulls = [pull_json(number * 10), pull_json(number * 10 + 1, head="other")]
        link = f'<https://elsewhere.example/x?page={number + 1}>; rel="next"' if number < 3 else ""
        return Reply(200, pulls, {"link": link})

    github.script["GET", f"{REPO_PATH}/pulls"] = page
    assert [pull.number for pull in await repository.pulls_from("claude/run-1")] == [10, 20, 30]
    assert github.seen[2].query["head"] == "octo-org:claude/run-1"
    assert github.seen[2].query["state"] == "all"


async def test_endless_pages_end(github, repository):
    link = {"link": '<https://elsewhere.example/x?page=2>; rel="next"'}
    github.on("GET", f"{REPO_PATH}/pulls", Reply(200, [pull_json()], link))
    assert len(await repository.pulls_from("claude/run-1")) == 10


class TestFailures:
    @pytest.mark.parametrize(
        "bad", [refused("x", 502), refused("x", 503), Reply(504, b"<html>"), Reply(200, facts_json(), cut=20)]
    )
    async def test_a_question_is_repeated(self, github, repository, clock, bad):
        github.on("GET", REPO_PATH, bad, bad, bad, Reply(200, facts_json()))
        assert (await repository.facts()).default_branch == "main"
        assert clock.slept == pytest.approx([0.5, 1.0, 2.0], rel=0.01)

    async def test_but_not_for_ever(self, github, repository):
        github.on("GET", REPO_PATH, refused("Server Error", 502))
        with pytest.raises(Unavailable, match="Server Error"):
            await repository.facts()
        assert len(github.seen) == 4

    async def test_a_plain_500_is_final(self, github, repository):
        github.on("GET", REPO_PATH, refused("Server Error", 500))
        with pytest.raises(Unavailable):
            await repository.facts()
        assert len(github.seen) == 1

    @pytest.mark.parametrize("bad", [refused("Server Error", 502), Reply(201, {"id": 99}, cut=3)])
    async def test_a_comment_is_not_repeated(self, github, repository, bad):
        """It may be there already; two would be worse than an error."""
        github.on("POST", f"{REPO_PATH}/issues/3/comments", bad, Reply(201, {"id": 100}))
        with pytest.raises(Unavailable):
            await repository.comment(3, "Hello")
        assert len(github.seen) == 1

    async def test_what_was_never_sent_is_repeated(self, github, repository, clock):
        github.server.close()
        with pytest.raises(Unavailable) as caught:
            await repository.comment(3, "Hello")
        assert caught.value.code == "github_unreachable"
        assert github.url in caught.value.hint
        assert len(clock.slept) == 3

    async def test_silence(self, github, repository):
        waiting: list[asyncio.Future[Reply]] = []

        def never(_: Seen) -> asyncio.Future[Reply]:
            waiting.append(asyncio.get_running_loop().create_future())
            return waiting[-1]

        github.script["POST", f"{REPO_PATH}/issues/3/comments"] = never
        with pytest.raises(Unavailable, match="did not answer"):
            await repository.comment(3, "Hello")
        for one in waiting:
            one.set_result(Reply())

    async def test_retry_after_of_a_failure(self, github, repository, clock):
        github.on("GET", REPO_PATH, refused("x", 503, retry_after="7"), Reply(200, facts_json()))
        await repository.facts()
        assert clock.slept == [7]

    async def test_a_long_retry_after_is_not_slept_through(self, github, repository, clock):
        github.on("GET", REPO_PATH, refused("x", 503, retry_after="300"))
        with pytest.raises(Unavailable):
            await repository.facts()
        assert clock.slept == []

    async def test_no_redirect_is_followed(self, github, repository):
        target = f"{github.url}/elsewhere"
        github.on("GET", "/api/v3/elsewhere", Reply(200, facts_json()))
        for status in (301, 302, 307, 308):
            github.on("GET", REPO_PATH, Reply(status, {"message": "Moved"}, {"location": target}))
            with pytest.raises(NotFound) as caught:
                await repository.facts()
            assert caught.value.code == "github_moved"
        assert github.count("GET", "/api/v3/elsewhere") == 0

    async def test_not_even_by_a_client_that_would(self, github, clock):
        async with httpx.AsyncClient(follow_redirects=True) as eager:
            transport = Transport(api_url=github.url, http=eager, ticks=clock, sleep=clock.sleep)

            async def fixed():
                return AccessToken(value="ghs_x", expires_at=Instant(0))

            repository = GitHubRepository(
                transport=transport, git_url=GIT_URL, repository=REPO, token_source=fixed, pace=transport.pace()
            )
            github.on("GET", REPO_PATH, Reply(302, None, {"location": f"{github.url}/elsewhere"}))
            with pytest.raises(NotFound):
                await repository.facts()
            assert len(github.seen) == 1

    async def test_an_endless_answer_is_cut_off(self, github, repository):
        github.on("GET", REPO_PATH, Reply(200, b" " * (9 * 1024 * 1024)))
        with pytest.raises(Upstream, match="larger than"):
            await repository.facts()


class TestRateLimits:
    async def test_a_short_pause_is_waited_for(self, github, repository, clock):
        path = f"{REPO_PATH}/issues/3/comments"
        github.on("POST", path, refused("slow down", 429, retry_after="3"), Reply(201, {"id": 99}))
        assert await repository.comment(3, "Hello") == 99
        assert sum(clock.slept) == 3

    async def test_a_long_pause_is_told_and_kept(self, github, forge, clock):
        github.on(
            "GET",
            REPO_PATH,
            refused("You have exceeded a secondary rate limit.", 403, retry_after="120"),
            Reply(200, facts_json()),
        )
        repository = forge.on(5, REPO)
        with pytest.raises(RateLimited) as caught:
            await repository.facts()
        assert caught.value.retry_after == 120
        asked = len(github.seen)
        clock.now = later(clock.now, 100_000)
        with pytest.raises(RateLimited) as caught:
            await forge.on(5, REPO).resolve("main")
        assert caught.value.retry_after == 20
        assert len(github.seen) == asked
        assert await forge.on(6, REPO).facts()
        clock.now = later(clock.now, 21_000)
        assert await repository.facts()

    async def test_the_primary_limit_ends_at_its_reset(self, github, repository):
        headers = {
            "x_ratelimit_remaining": "0",
            "x_ratelimit_reset": "1763600900",
            "date": "Thu, 20 Nov 2025 00:53:20 GMT",
        }
        github.on("GET", REPO_PATH, refused("API rate limit exceeded for installation ID 5.", 403, **headers))
        with pytest.raises(RateLimited) as caught:
            await repository.facts()
        assert caught.value.retry_after == 900

    async def test_not_more_than_ten_at_once(self, github, repository):
        async def slowly() -> Reply:
            await asyncio.sleep(0.01)
            return Reply(200, facts_json())

        github.script["GET", REPO_PATH] = lambda _: asyncio.ensure_future(slowly())
        await asyncio.gather(*(repository.facts() for _ in range(40)))
        assert 2 <= github.most_busy <= 10

    async def test_two_hundred_comments_stay_under_eighty_a_minute(self, github, repository, clock):
        at: list[int] = []

        def note(_: Seen) -> Reply:
            at.append(clock.now)
            return Reply(201, {"id": len(at)})

        github.script["POST", f"{REPO_PATH}/issues/3/comments"] = note
        for _ in range(200):
            await repository.comment(3, "Hello")
        assert len(at) == 200
        assert max(sum(start <= moment < start + MINUTE for moment in at) for start in at) <= 80
        assert at[-1] - at[0] <= 200_000


class TestOpenPull:
    PULLS = f"{REPO_PATH}/pulls"
    EXISTS = refused("Validation Failed: A pull request already exists for octo-org:claude/run-1.")

    async def test_new(self, github, repository):
        github.on("POST", self.PULLS, Reply(201, pull_json()))
        assert (await repository.open_pull(NEW)).number == 7
        assert github.seen[0].json == {
            "title": "Fix it",
            "body": "Closes #1",
            "head": "claude/run-1",
            "base": "main",
            "draft": False,
        }

    async def test_the_open_one_is_adopted(self, github, repository):
        github.on("POST", self.PULLS, self.EXISTS)
        github.on(
            "GET", self.PULLS, Reply(200, [pull_json(9, state="closed"), pull_json(8, base="release"), pull_json(7)])
        )
        assert (await repository.open_pull(NEW)).number == 7

    async def test_another_reason_is_told(self, github, repository):
        github.on("POST", self.PULLS, refused("No commits between main and claude/run-1"))
        github.on("GET", self.PULLS, Reply(200, [pull_json(9, state="closed"), pull_json(8, base="release")]))
        with pytest.raises(Invalid, match="No commits between main"):
            await repository.open_pull(NEW)

    @pytest.mark.parametrize("lost", [refused("Server Error", 502), Reply(201, pull_json(), cut=30)])
    async def test_a_lost_answer_does_not_make_a_second_one(self, github, repository, lost):
        github.on("POST", self.PULLS, lost)
        github.on("GET", self.PULLS, Reply(200, [pull_json()]))
        assert (await repository.open_pull(NEW)).number == 7
        assert github.count("POST", self.PULLS) == 1

    async def test_a_lost_request_is_made_again(self, github, repository):
        github.on(
            "POST", self.PULLS, refused("Server Error", 502), refused("Server Error", 503), Reply(201, pull_json())
        )
        github.on("GET", self.PULLS, Reply(200, []))
        assert (await repository.open_pull(NEW)).number == 7

    async def test_not_for_ever(self, github, repository):
        github.on("POST", self.PULLS, refused("Server Error", 502))
        github.on("GET", self.PULLS, Reply(200, []))
        with pytest.raises(Unavailable):
            await repository.open_pull(NEW)
        assert github.count("POST", self.PULLS) == 4


class TestPermission:
    PATH = f"{REPO_PATH}/collaborators/octocat/permission"

    async def test_asked(self, github, repository):
        github.on("GET", self.PATH, Reply(200, {"permission": "write", "role_name": "maintain"}))
        assert await repository.permission("octocat") == "maintain"

    async def test_unknown_people_have_none(self, github, repository):
        github.on("GET", self.PATH, refused("octocat is not a user", 404))
        assert await repository.permission("octocat") == "none"
        asked = len(github.seen)
        assert await repository.permission("../../installation") == "none"
        assert len(github.seen) == asked

    @pytest.mark.parametrize(
        ("reply", "kind"),
        [
            (refused("Moved", 301), NotFound),
            (refused("Must have push access", 403), Forbidden),
            (refused("Server Error", 500), Unavailable),
            (Reply(200, {"role": "admin"}), Upstream),
        ],
    )
    async def test_an_error_is_not_an_answer(self, github, repository, reply, kind):
        github.on("GET", self.PATH, reply)
        with pytest.raises(kind):
            await repository.permission("octocat")
