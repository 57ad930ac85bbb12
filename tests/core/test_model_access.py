"""What goes together in the settings of the model, and what is refused at the start."""

import pytest

from infra.core.errors import Invalid
from infra.core.model_access import Vertex, allowed_models, check_model
from infra.settings import DispatcherSettings, load

VERTEX = {"MODEL_AUTH": "vertex", "VERTEX_PROJECT_ID": "my-project-1"}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"ANTHROPIC_API_KEY": "k"},
        {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "https://proxy.example"},
        {"MODEL_AUTH": "oauth"},
        {"MODEL_AUTH": "oauth", "CLAUDE_CODE_OAUTH_TOKEN": "t", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"},
        {"MODEL_AUTH": "gateway", "ANTHROPIC_AUTH_TOKEN": "t", "ANTHROPIC_BASE_URL": "https://gateway.example"},
        VERTEX,
        {**VERTEX, "VERTEX_REGION": "us-east5", "VERTEX_USER_TOKEN": "t"},
        {"VERTEX_ENABLED": "true", "VERTEX_PROJECT_ID": "example.com:my-project-1", "VERTEX_REGION": "eu"},
        {"CLAUDE_MODEL": "opus", "ALLOWED_MODELS": "claude-haiku-5-5, claude-opus-5-5-20260101"},
    ],
)
def test_settings_that_go_together_are_accepted(given):
    load(DispatcherSettings, given)


@pytest.mark.parametrize(
    ("given", "told", "hint"),
    [
        (
            {"CLAUDE_CODE_OAUTH_TOKEN": "t"},
            "CLAUDE_CODE_OAUTH_TOKEN is set, but MODEL_AUTH=api_key",
            "MODEL_AUTH=oauth",
        ),
        ({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_AUTH_TOKEN": "t"}, "ANTHROPIC_AUTH_TOKEN is set", "MODEL_AUTH=gateway"),
        ({"MODEL_AUTH": "oauth", "ANTHROPIC_API_KEY": "k"}, "ANTHROPIC_API_KEY is set, but MODEL_AUTH=oauth", "Unset"),
        ({"MODEL_AUTH": "gateway", "ANTHROPIC_AUTH_TOKEN": "t"}, "needs the gateway's address", "ANTHROPIC_BASE_URL"),
        (
            {"MODEL_AUTH": "oauth", "ANTHROPIC_BASE_URL": "https://x.example"},
            "names another host",
            "MODEL_AUTH=gateway",
        ),
        ({**VERTEX, "ANTHROPIC_API_KEY": "k"}, "ANTHROPIC_API_KEY is set, but MODEL_AUTH=vertex", "Unset"),
        ({**VERTEX, "ANTHROPIC_BASE_URL": "https://x.example"}, "does not use it", "VERTEX_BASE_URL"),
        ({"MODEL_AUTH": "vertex"}, "needs the project", "VERTEX_PROJECT_ID"),
        ({**VERTEX, "VERTEX_PROJECT_ID": "../other"}, "needs the project", "VERTEX_PROJECT_ID"),
        ({**VERTEX, "VERTEX_REGION": "evil.example/x"}, "is not a region", "us-east5"),
        ({"VERTEX_ENABLED": "true", "MODEL_AUTH": "oauth"}, "VERTEX_ENABLED", "MODEL_AUTH"),
        ({"CLAUDE_MODEL": "claude-opus-5-5", "ALLOWED_MODELS": "haiku"}, "'claude-opus-5-5' is not allowed", "haiku"),
        ({"MODEL_OUTLETS": "web_search, shell"}, "'shell'", "web_fetch"),
        ({"RUN_BUDGET_USD": "five dollars"}, "RUN_BUDGET_USD", "docs/settings.md"),
    ],
)
def test_contradictions_are_refused_with_what_to_do(given, told, hint):
    with pytest.raises(Invalid) as refused:
        load(DispatcherSettings, given)
    assert told in refused.value.message
    assert hint in refused.value.hint


def test_vertex_has_an_address_and_a_price_for_each_region():
    def at(region):
        place = Vertex(project="p", region=region)
        return place.url, place.surcharge_percent

    assert at("global") == ("https://aiplatform.googleapis.com/v1", 0)
    assert at("eu") == ("https://aiplatform.eu.rep.googleapis.com/v1", 10)
    assert at("us-east5") == ("https://us-east5-aiplatform.googleapis.com/v1", 10)
    assert Vertex(project="p", region="eu", base_url="http://127.0.0.1:1/v1/").url == "http://127.0.0.1:1/v1"


def test_without_a_list_a_run_may_use_its_model_and_the_small_one():
    assert allowed_models("", "claude-opus-5-5") == ("claude-opus-5-5", "haiku")
    assert allowed_models(" opus , haiku,", "x") == ("opus", "haiku")
    check_model("us.anthropic.claude-opus-5-5", ["opus"])
    with pytest.raises(Invalid) as refused:
        check_model("claude-fable-5-2", ["opus", "haiku"])
    assert refused.value.code == "model_not_allowed"
    assert "opus, haiku" in refused.value.hint
