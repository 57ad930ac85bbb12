"""What a runner is given for the model, in each mode of paying for it."""

from dataclasses import replace

import pytest

from infra.core.clock import HOUR, Instant
from infra.core.forge import AccessToken
from tests.world.control_plane import control_plane

OTHER = {"anthropic_api_key": ""}


async def given(folder, *, secrets=None, token=None, **settings):
    """The runner's answer."""
    async with control_plane(folder, **OTHER | settings) as plane:
        for name, value in (secrets or {}).items():
            await plane.services.secrets.put(name, value)
        if token is not None:

            async def cloud_token():
                return token

            await plane.http.aclose()
            plane.become(replace(plane.services, cloud_token=cloud_token))
        await plane.new_run()
        runner = plane.runner()
        await runner.claim()
        return await runner.credentials("model")


async def test_an_api_key_from_the_secret_store(tmp_path):
    answer = await given(tmp_path, secrets={"anthropic-api-key": b"sk-ant-stored"}, model_outlets="web_search")
    told = answer.json()
    assert (told["mode"], told["base_url"]) == ("api_key", "https://api.anthropic.com")
    assert told["headers"] == {"x-api-key": "sk-ant-stored"}
    assert told["allowed_models"] == ["claude-opus-5-5", "haiku"]
    assert (told["outlets"], told["expires_at"], told["surcharge_percent"]) == (["web_search"], 0, 0)
    assert answer.headers["cache-control"] == "no-store"


async def test_a_subscription_token_with_its_header(tmp_path):
    told = (await given(tmp_path, model_auth="oauth", claude_code_oauth_token="sk-ant-oat-1")).json()
    assert told["headers"] == {"authorization": "Bearer sk-ant-oat-1", "anthropic-beta": "oauth-2025-04-20"}


async def test_a_gateway_with_its_own_address(tmp_path):
    settings = {"anthropic_auth_token": "gw", "anthropic_base_url": "https://gateway.example/anthropic/"}
    told = (await given(tmp_path, model_auth="gateway", **settings)).json()
    assert told["base_url"] == "https://gateway.example/anthropic"
    assert told["headers"] == {"authorization": "Bearer gw"}


async def test_vertex_with_a_persons_token(tmp_path):
    settings = {"vertex_project_id": "my-project", "vertex_region": "us-east5", "vertex_user_token": "ya29.mine"}
    told = (await given(tmp_path, vertex_enabled="true", **settings)).json()
    assert (told["mode"], told["project"], told["region"]) == ("vertex", "my-project", "us-east5")
    assert told["base_url"] == "https://us-east5-aiplatform.googleapis.com/v1"
    assert told["headers"] == {"authorization": "Bearer ya29.mine"}
    assert (told["surcharge_percent"], told["expires_at"]) == (10, 0)


async def test_vertex_with_a_token_that_ends(tmp_path):
    token = AccessToken(value="ya29.service", expires_at=Instant(HOUR))
    told = (await given(tmp_path, token=token, model_auth="vertex", vertex_project_id="my-project")).json()
    assert (told["headers"], told["expires_at"]) == ({"authorization": "Bearer ya29.service"}, HOUR)


async def test_vertex_without_any_token_says_what_to_set(tmp_path):
    answer = await given(tmp_path, model_auth="vertex", vertex_project_id="my-project")
    assert answer.status_code == 503
    assert "VERTEX_USER_TOKEN not set" in answer.text


@pytest.mark.parametrize("listed", ["opus", "claude-opus-5-5, claude-sonnet-5-5"])
async def test_the_operators_list_of_models_goes_with_it(tmp_path, listed):
    told = (await given(tmp_path, secrets={"anthropic-api-key": b"k"}, allowed_models=listed)).json()
    assert told["allowed_models"] == [name.strip() for name in listed.split(",")]
