"""Apps: whose JWT counts, which tokens it buys, and what becomes of them."""

import json
import re

import jwt
import pytest

from infra.core.clock import HOUR, MINUTE, SECOND
from tests.world.forge import APP_ID, app_jwt, bearer, forge_world, key_pair


@pytest.fixture
async def github(tmp_path):
    async with forge_world(tmp_path) as world:
        world.clock.freeze()  # windows are tested to the second
        yield world


async def test_an_app_in_time_is_let_in(github):
    for claims in ({}, {"iss": f"Iv23li{APP_ID:014d}"}, {"iss": APP_ID}):
        # PyJWT insists on text for iss when it encodes; GitHub takes the number, too.
        token = _raw(github, claims) if isinstance(claims.get("iss"), int) else github.jwt(**claims)
        answer = await github.http.get("/app", headers=bearer(token))
        assert answer.status_code == 200, answer.text
        assert (answer.json()["id"], answer.json()["slug"]) == (APP_ID, "pullwright")


def _raw(github, claims):
    now = github.clock() // SECOND
    payload = {"iat": now - 60, "exp": now + 540, **claims}
    return jwt.api_jws.encode(json.dumps(payload).encode(), key_pair().private, algorithm="RS256")


@pytest.mark.parametrize(
    ("iat", "exp", "says"),
    [
        (-60, 541 + 60, "too far in the future"),
        (-60, 0, "must be a numeric value representing the future time"),
        (-60, -1, "must be a numeric value representing the future time"),
        (90, 500, "'Issued at' claim"),
    ],
)
async def test_a_jwt_outside_its_window_is_refused_in_githubs_words(github, iat, exp, says):
    now = github.clock() // SECOND
    answer = await github.http.get("/app", headers=bearer(github.jwt(iat=now + iat, exp=now + exp)))
    assert answer.status_code == 401
    assert says in answer.json()["message"]
    assert set(answer.json()) == {"message", "documentation_url", "status"}
    assert answer.json()["status"] == "401"


@pytest.mark.parametrize(("iat", "exp"), [(-3600, 599), (-60, 2), (55, 590)])
async def test_the_edges_of_the_window_are_inside(github, iat, exp):
    now = github.clock() // SECOND
    answer = await github.http.get("/app", headers=bearer(github.jwt(iat=now + iat, exp=now + exp)))
    assert answer.status_code == 200


async def test_forged_jwts_are_refused(github):
    now = github.clock()
    other = key_pair("other").private
    forged = [
        app_jwt(now, private_key=other),
        app_jwt(now, private_key="shared secret that is long enough", algorithm="HS256"),
        jwt.encode({"iat": now // SECOND, "exp": now // SECOND + 60, "iss": str(APP_ID)}, None, algorithm="none"),
        github.jwt()[:-8] + "AAAAAAAA",
        "eyJ.eyJ.x",
        github.jwt(iat="soon"),
        github.jwt(iat=True),
    ]
    for token in forged:
        answer = await github.http.get("/app", headers=bearer(token))
        assert answer.status_code == 401, token
    unknown = await github.http.get("/app", headers=bearer(github.jwt(iss="999999")))
    assert (unknown.status_code, unknown.json()["message"]) == (404, "Integration not found")
    for credential in ({}, bearer(github.person), bearer(await github.installation_token())):
        assert (await github.http.get("/app", headers=credential)).status_code == 401


async def test_the_installation_is_found_where_it_is_and_nowhere_else(github):
    other = await github.forge.create_repository("acme", "vault")
    headers = bearer(github.jwt())
    for path in (f"{github.path}/installation", f"/app/installations/{github.installation.id}"):
        answer = await github.http.get(path, headers=headers)
        assert answer.json()["id"] == github.installation.id
        assert answer.json()["permissions"]["contents"] == "write"
        assert answer.json()["account"]["login"] == "acme"
        assert answer.json()["suspended_at"] is None
    listed = await github.http.get("/app/installations", headers=headers)
    assert [row["id"] for row in listed.json()] == [github.installation.id]
    for path in (f"/repos/{other.full_name}/installation", "/repos/no/where/installation", "/app/installations/1"):
        assert (await github.http.get(path, headers=headers)).status_code == 404


async def test_a_token_looks_like_the_tokens_of_2026_and_says_what_it_is(github):
    answer = await github.http.post(
        f"/app/installations/{github.installation.id}/access_tokens",
        headers=bearer(github.jwt()),
        json={"repositories": ["SHOP"], "permissions": {"contents": "read"}},
    )
    body = answer.json()
    assert answer.status_code == 201
    assert re.fullmatch(rf"ghs_{APP_ID}_[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", body["token"])
    assert 480 < len(body["token"]) < 560
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", body["expires_at"])
    assert body["permissions"] == {"contents": "read", "metadata": "read"}
    assert body["repository_selection"] == "selected"
    assert [row["full_name"] for row in body["repositories"]] == ["acme/shop"]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"permissions": {"administration": "read"}}, 422),
        ({"permissions": {"contents": "admin"}}, 422),
        ({"permissions": {"contents": "everything"}}, 422),
        ({"repositories": ["shop", "vault"]}, 422),
        ({"repository_ids": [1]}, 422),
        ({"repositories": "shop"}, 422),
        ({"permissions": {"contents": "read"}, "repositories": []}, 201),
        ({}, 201),
    ],
)
async def test_a_token_cannot_be_more_than_the_installation(github, asked, status):
    await github.forge.create_repository("acme", "vault")
    path = f"/app/installations/{github.installation.id}/access_tokens"
    answer = await github.http.post(path, headers=bearer(github.jwt()), json=asked)
    assert answer.status_code == status, answer.text


async def test_tokens_end_by_time_and_by_wish(github):
    first, second = await github.installation_token(), await github.installation_token()
    assert (await github.http.delete("/installation/token", headers=bearer(first))).status_code == 204
    assert (await github.http.get(github.path, headers=bearer(first))).status_code == 401
    github.clock.forward(HOUR - MINUTE)
    assert (await github.http.get(github.path, headers=bearer(second))).status_code == 200
    github.clock.forward(2 * MINUTE)
    expired = await github.http.get(github.path, headers=bearer(second))
    assert (expired.status_code, expired.json()["message"]) == (401, "Bad credentials")


async def test_a_token_lists_the_repositories_it_opens(github):
    other = await github.forge.create_repository("acme", "vault")
    github.forge.install_app(APP_ID, "acme", [other])
    everything = await github.installation_token()
    narrow = await github.installation_token(repository_ids=[other.id])
    for token, names in ((everything, ["shop", "vault"]), (narrow, ["vault"])):
        answer = await github.http.get("/installation/repositories", headers=bearer(token))
        assert [row["name"] for row in answer.json()["repositories"]] == names
    refused = await github.http.get("/installation/repositories", headers=bearer(github.person))
    assert refused.status_code == 403


async def test_the_bot_has_an_account_of_its_own(github):
    bot = (await github.http.get("/users/pullwright[bot]")).json()
    assert (bot["login"], bot["type"]) == ("pullwright[bot]", "Bot")
    assert bot["id"] != APP_ID
    assert (await github.http.get("/users/pullwright%5Bbot%5D")).json()["id"] == bot["id"]
    assert (await github.http.get("/users/nobody-here")).status_code == 404


async def test_a_jwt_opens_no_repository(github):
    for path in (github.path, f"{github.path}/issues", "/user"):
        assert (await github.http.get(path, headers=bearer(github.jwt()))).status_code in {403, 404}


async def test_no_token_is_stored_or_logged_in_clear(github, tmp_path):
    token = await github.installation_token()
    await github.http.get(github.path, headers=bearer(token))
    stored = b"".join(path.read_bytes() for path in (tmp_path / "forge").glob("forge.sqlite*"))
    assert token.encode() not in stored
    assert github.person.encode() not in stored
    assert token not in repr(list(github.forge.calls))
