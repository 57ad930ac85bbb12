"""What is read about issues and people, against a scripted GitHub: attachments and logs without our token, and from GitHub only."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from infra.core.ask import Via
from infra.core.errors import NotFound, TooLarge, Unavailable
from infra.core.forge import AccessToken
from infra.core.repository import Repository
from infra.github.client import GitHubRepository, http_client
from infra.github.downloads import fetch, host_of, is_log_host
from infra.github.reading import signed_address
from infra.github.transport import Transport
from tests.infra.test_github_client import Reply, ScriptedGitHub

PATH = "/api/v3/repos/octo-org/widgets"
UUID = "01234567-89ab-cdef-0123-456789abcdef"
ATTACHMENT = f"https://github.com/user-attachments/assets/{UUID}"
SIGNED = f"https://private-user-images.githubusercontent.com/7/1-{UUID}.png?jwt=abc&x=1"


@asynccontextmanager
async def scripted():
    github = ScriptedGitHub()
    server = await asyncio.start_server(github.serve, "127.0.0.1", 0)
    github.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield github
    finally:
        server.close()
        await server.wait_closed()


@pytest.fixture
async def github():
    async with scripted() as made:
        yield made


@pytest.fixture
async def repository(github):
    async def token():
        return AccessToken(value="ghs_secret", expires_at=0)

    transport = Transport(api_url=f"{github.url}/api/v3", http=http_client())
    yield GitHubRepository(
        transport=transport,
        git_url="https://github.com",
        repository=Repository("octo-org", "widgets"),
        token_source=token,
        pace=transport.pace(),
    )
    await transport.close()


class TestPeople:
    async def test_a_team_is_asked_for_and_only_active_members_are_in_it(self, github, repository):
        path = "/api/v3/orgs/octo-org/teams/core/memberships/ada"
        github.on("GET", path, Reply(200, {"state": "active"}), Reply(200, {"state": "pending"}), Reply(404, {}))
        assert [await repository.in_team("core", "ada") for _ in range(3)] == [True, False, False]

    async def test_the_app_behind_a_bot_is_the_one_that_has_the_slug(self, github, repository):
        github.on("GET", "/api/v3/apps/helper", Reply(200, {"id": 77, "slug": "helper"}))
        github.on("GET", "/api/v3/apps/other", Reply(200, {"id": 78, "slug": "helper"}))
        assert await repository.app_behind("helper[bot]") == 77
        for login in ("other[bot]", "unknown[bot]", "helper", "a/b[bot]"):
            assert await repository.app_behind(login) == 0

    async def test_changed_files_under_both_names(self, github, repository):
        files = [{"filename": "b.py", "previous_filename": "a.py"}, {"filename": "c.py"}]
        github.on("GET", f"{PATH}/pulls/8/files", Reply(200, files))
        assert await repository.changed_files(8) == ("b.py", "a.py", "c.py")


class TestPictures:
    def test_an_attachment_is_had_at_the_signed_address_of_its_own_rendering(self):
        html = f'<a href="{SIGNED.replace("&", "&amp;")}"><img src="{SIGNED.replace("&", "&amp;")}"></a>'
        assert signed_address(ATTACHMENT, html) == SIGNED
        assert signed_address(ATTACHMENT, html.replace(UUID, UUID[::-1])) == ""
        assert signed_address(ATTACHMENT, html.replace("githubusercontent.com", "evil.example")) == ""
        public = "https://user-images.githubusercontent.com/1/a.png"
        assert signed_address(public, "") == public

    async def test_nothing_is_asked_for_texts_without_pictures(self, github, repository):
        assert await repository.pictures(Via.ISSUE, 3, ("https://evil.example/x.png",), 100) == ()
        assert github.seen == []

    async def test_the_rendering_is_asked_for_and_what_is_not_github_s_is_not_fetched(self, github, repository):
        html = f'<img src="https://evil.example/{UUID}.png">'
        github.on("GET", f"{PATH}/issues/comments/501", Reply(200, {"body_html": html}))
        assert await repository.pictures(Via.COMMENT, 501, (f"![a]({ATTACHMENT})",), 100) == ()
        (seen,) = github.seen
        assert seen.headers["accept"] == "application/vnd.github.full+json"


class TestFiles:
    async def test_without_a_token_bounded_and_following_nothing(self, github):
        github.on("GET", "/a.png", Reply(200, b"x" * 100))
        github.on("GET", "/moved.png", Reply(302, b"", {"location": f"{github.url}/a.png"}))
        async with http_client() as http:
            assert await fetch(http, f"{github.url}/a.png", most=100) == b"x" * 100
            assert await fetch(http, f"{github.url}/a.png", most=10, end_only=True) == b"x" * 10
            with pytest.raises(TooLarge):
                await fetch(http, f"{github.url}/a.png", most=99)
            with pytest.raises(NotFound):
                await fetch(http, f"{github.url}/moved.png", most=100)
            with pytest.raises(Unavailable):
                await fetch(http, "http://127.0.0.1:9/x", most=100)
        assert all("authorization" not in seen.headers for seen in github.seen)

    async def test_a_log_is_fetched_from_where_github_keeps_logs_only(self, github, repository):
        elsewhere = {"location": "https://evil.example/log"}
        github.on("GET", f"{PATH}/actions/jobs/801/logs", Reply(302, b"", elsewhere))
        with pytest.raises(NotFound):
            await repository.job_log(801, 100)
        github.on("GET", f"{PATH}/actions/jobs/801/logs", Reply(404, {"message": "Not Found"}))
        with pytest.raises(NotFound):
            await repository.job_log(801, 100)

    @pytest.mark.parametrize(
        ("url", "ours"),
        [
            ("https://pipelines.actions.githubusercontent.com/x?sig=1", True),
            ("https://productionresultssa12.blob.core.windows.net/x", True),
            ("https://evil.blob.core.windows.net/x", False),
            ("https://x.actions.githubusercontent.com.evil.example/x", False),
            ("https://user@pipelines.actions.githubusercontent.com/x", False),
            ("http://pipelines.actions.githubusercontent.com/x", False),
            ("ftp://pipelines.actions.githubusercontent.com/x", False),
            ("", False),
        ],
    )
    def test_hosts_of_logs(self, url, ours):
        assert is_log_host(host_of(url)) is ours
