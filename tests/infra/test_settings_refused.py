"""Settings that cannot be meant are refused at start, with a sentence that says what to change."""

import pytest

from infra.core.errors import Invalid
from infra.foreign_settings import FOREIGN
from infra.settings import DispatcherSettings, RunnerSettings, check_known, load, names

CLOUD = {
    "PLATFORM": "google",
    "GOOGLE_CLOUD_PROJECT": "p",
    "ARTIFACT_BUCKET": "b",
    "INVOKER_SERVICE_ACCOUNT": "i@p.iam.gserviceaccount.com",
    "PUBLIC_URL": "https://d.example.org",
    "CLAUDE_CLOUD_RUN_URL": "https://r.example.org",
}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"HEARTBEAT_SECONDS": "5", "LEASE_SECONDS": "9"}, "HEARTBEAT_SECONDS=5 is too seldom for LEASE_SECONDS=9"),
        ({"ARTIFACT_BUCKET": "b"}, "ARTIFACT_BUCKET has no meaning with PLATFORM=local"),
        ({"INVOKER_SERVICE_ACCOUNT": "i@p"}, "INVOKER_SERVICE_ACCOUNT has no meaning with PLATFORM=local"),
        ({"EXECUTOR": "job"}, "EXECUTOR=job needs Google Cloud"),
        ({**CLOUD, "PUBLIC_URL": "http://d.example.org"}, "PUBLIC_URL starts with http://"),
        ({**CLOUD, "CLAUDE_CLOUD_RUN_URL": "http://r.example.org"}, "CLAUDE_CLOUD_RUN_URL starts with http://"),
        ({**CLOUD, "ARTIFACT_BUCKET": ""}, "PLATFORM=google needs ARTIFACT_BUCKET"),
        ({**CLOUD, "EXECUTOR": "service", "RUN_TIMEOUT_SECONDS": "3600"}, "cannot work for 3600 s"),
        ({"VERTEX_ENABLED": "true", "MODEL_AUTH": "oauth"}, "contradict each other"),
    ],
)
def test_what_contradicts_itself_is_refused(given, words):
    with pytest.raises(Invalid) as caught:
        load(DispatcherSettings, given)
    assert words in caught.value.message
    assert caught.value.hint


def test_the_cloud_s_settings_fit_together():
    assert load(DispatcherSettings, CLOUD).own_url == "https://d.example.org"
    here = {**CLOUD, "PUBLIC_URL": "http://127.0.0.1:1", "CLAUDE_CLOUD_RUN_URL": "http://localhost:2"}
    assert load(DispatcherSettings, here).platform == "google"


@pytest.mark.parametrize("name", FOREIGN)
def test_a_name_from_elsewhere_is_refused_with_what_to_do_instead(name):
    with pytest.raises(Invalid) as caught:
        check_known({name: "x"}, DispatcherSettings, RunnerSettings)
    assert (caught.value.message, caught.value.hint) == (f"{name} is not a setting here.", FOREIGN[name])


def test_names_from_elsewhere_are_read_by_nobody():
    """Whoever makes one of them a setting takes it out of infra/foreign_settings.py."""
    assert set(FOREIGN).isdisjoint({*names(DispatcherSettings), *names(RunnerSettings)})


NAMED = [
    "ALLOW_SELF_SIGNED",
    "ANTHROPIC_API_KEY",
    "CLAUDE_COMMAND",
    "CLAUDE_CLOUD_RUN_URL",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CONTAINER_ID",
    "DEBUG",
    "ENVIRONMENT",
    "EXTRA_ALLOWED_COMMANDS",
    "GATEWAY_URL",
    "GITHUB_APP_ID",
    "GITHUB_APP_PRIVATE_KEY",
    "HMAC_SECRET",
    "VERTEX_ENABLED",
    "VERTEX_PROJECT_ID",
    "VERTEX_REGION",
    "VERTEX_USER_TOKEN",
]
"""What S0 to S4 call their variables, where they mean something here (docs/features.md)."""


@pytest.mark.parametrize("name", NAMED)
def test_known_names_are_read_under_that_name(name):
    assert name in {*names(DispatcherSettings), *names(RunnerSettings)}
