"""The infrastructure says what the program needs, and gives each identity the least; checked without Terraform."""

import json
import re

import pytest

from dispatcher.app import ROUTES
from infra import platform_secrets
from infra.core.project_secrets import stored_name
from infra.core.repository import Repository
from infra.records.indexes import INDEXES
from infra.settings import DispatcherSettings, RunnerSettings, names
from tests import terraform_files as tf
from tests.world.terraform_provider import published

SCHEMA = published()
RESOURCES = tf.resources()
LOCALS = tf.local_values()
SOURCE = "\n".join(path.read_text() for path in sorted(tf.FOLDER.glob("*.tf")))


def unknown_names(block, schema, path=""):
    """What the provider does not know."""
    attributes, nested = schema.get("attributes", {}), schema.get("block_types", {})
    found = [f"{path}{name}" for name in block.arguments if name not in attributes]
    missing = [
        f"{path}{name} is required"
        for name, attribute in attributes.items()
        if attribute.get("required") and name not in block.arguments
    ]
    for name, inner in block.blocks.items():
        if name not in nested:
            found.append(f"{path}{name} {{}}")
            continue
        for item in inner:
            found += unknown_names(item, nested[name]["block"], f"{path}{name}.")
    return found + missing


@pytest.mark.parametrize("key", RESOURCES, ids=".".join)
def test_the_provider_knows_every_argument_and_block(key):
    kind, _ = key
    assert kind in SCHEMA["resource_schemas"], "add it to tests/data/google_provider_schema.json"
    assert unknown_names(RESOURCES[key], SCHEMA["resource_schemas"][kind]["block"]) == []


def test_the_kept_schema_has_what_is_used_and_no_more():
    assert set(SCHEMA["resource_schemas"]) == {kind for kind, _ in RESOURCES}
    assert set(SCHEMA["data_source_schemas"]) == {kind for kind, _ in tf.data_sources()}


GRANTS = {".".join(key): block.arguments for key, block in RESOURCES.items() if key[0].endswith("_iam_member")}
PROJECT_WIDE = {
    "google_project_iam_member.dispatcher_documents": "roles/datastore.user",
    "google_project_iam_member.dispatcher_reads_secrets_of_projects": "roles/secretmanager.secretAccessor",
    "google_project_iam_member.build_logs": "roles/logging.logWriter",
    "google_project_iam_member.build_watches": "${google_project_iam_custom_role.deployment_watcher.id}",
}
"""All there is for the whole project; everything else is granted on one thing."""


def test_only_single_members_are_added_so_nothing_that_others_granted_is_taken_away():
    assert [key for key in RESOURCES if key[0].endswith(("_iam_binding", "_iam_policy"))] == []


def test_the_runner_s_identity_has_no_role():
    assert [name for name, grant in GRANTS.items() if "google_service_account.runner" in grant["member"]] == []


@pytest.mark.parametrize("name", GRANTS)
def test_a_grant_is_narrow(name):
    grant = GRANTS[name]
    assert grant["role"] not in {"roles/owner", "roles/editor", "roles/viewer"}
    assert not re.search(r"[aA]dmin$", grant["role"]), "an admin role lets its holder grant more"
    if name.startswith("google_project_iam_member"):
        assert PROJECT_WIDE.get(name) == grant["role"]
    if "allUsers" in grant["member"] or "allAuthenticatedUsers" in grant["member"]:
        assert name == "google_cloud_run_v2_service_iam_member.public"
        assert grant["role"] == "roles/run.invoker"


def test_secrets_of_projects_are_told_apart_by_name():
    (condition,) = RESOURCES["google_project_iam_member", "dispatcher_reads_secrets_of_projects"].blocks["condition"]
    prefix = stored_name(Repository(owner="acme", name="shop"), "TOKEN").partition("-")[0]
    assert f"/secrets/{prefix}-" in condition.arguments["expression"]


def test_documents_are_open_in_one_database_only():
    (condition,) = RESOURCES["google_project_iam_member", "dispatcher_documents"].blocks["condition"]
    assert "google_firestore_database.this.name" in condition.arguments["expression"]


def test_the_public_door_is_a_choice_and_the_runner_has_none():
    dispatcher = RESOURCES["google_cloud_run_v2_service", "dispatcher"]
    runner = RESOURCES["google_cloud_run_v2_service", "runner"]
    assert dispatcher.arguments["invoker_iam_disabled"] == '${var.public_by == "check_off"}'
    assert "invoker_iam_disabled" not in runner.arguments


def test_one_instance_of_the_runner_serves_one_run():
    (template,) = RESOURCES["google_cloud_run_v2_service", "runner"].blocks["template"]
    assert template.arguments["max_instance_request_concurrency"] == 1
    assert 25 * 60 < int(template.arguments["timeout"].removesuffix("s")) < 30 * 60
    (job,) = RESOURCES["google_cloud_run_v2_job", "runner"].blocks["template"]
    assert job.blocks["template"][0].arguments["max_retries"] == 0


ENVIRONMENT = re.findall(r"\b([A-Z][A-Z0-9_]{3,}) +=(?!=)", SOURCE)
PASSED_ON = {"HTTPS_PROXY", "NO_PROXY"}
"""What the runner's programs take from the environment as every program does."""


def test_variables_that_programs_are_given_are_settings():
    known = {*names(DispatcherSettings), *names(RunnerSettings), *PASSED_ON}
    assert set(ENVIRONMENT) >= {"PLATFORM", "PUBLIC_URL", "CLAUDE_CLOUD_RUN_URL", "RUNNER_SINGLE_USE"}
    assert sorted(set(ENVIRONMENT) - known) == []


def test_no_secret_is_a_variable():
    assert [name for name in ENVIRONMENT if re.search("KEY|TOKEN|SECRET|PASSWORD", name)] == []
    assert "secret_key_ref" not in SOURCE
    assert "google_secret_manager_secret_version" not in SOURCE, "values would end up in the state"


def test_every_secret_of_the_platform_has_its_place():
    known = {value for name, value in vars(platform_secrets).items() if name.isupper() and isinstance(value, str)}
    assert set(LOCALS["secrets"]) == known - {platform_secrets.INTERNAL_KEY}, "the internal key is local mode's"


def test_composite_indexes_are_those_that_queries_need():
    needed = {
        (collection, *(f"data.{name}" for name in fields))
        for collection, definitions in INDEXES.items()
        for fields in definitions
        if not isinstance(fields, str)
    }
    made = {(index["collection"], *index["fields"]) for index in LOCALS["composite_indexes"].values()}
    assert made == needed


def test_what_is_not_indexed_is_never_asked_for():
    for collection, name in LOCALS["unindexed"].items():
        asked = {part for fields in INDEXES[collection] for part in ([fields] if isinstance(fields, str) else fields)}
        assert name.removeprefix("data.") not in asked


def test_schedules_call_routes_of_the_queue_and_scheduler():
    internal = {rule.path for rule in ROUTES if rule.access.value == "internal"}
    assert {schedule["path"] for schedule in LOCALS["schedules"].values()} <= internal
    assert "/internal/sweep" in {schedule["path"] for schedule in LOCALS["schedules"].values()}


def test_the_example_uses_variables_that_exist():
    example = (tf.FOLDER / "terraform.tfvars.example").read_text()
    given = set(re.findall(r"^#? ?([a-z_]+) += ", example, re.MULTILINE))
    assert given
    assert given - tf.variables() == set()


def test_the_schema_is_readable_as_terraform_prints_it():
    text = (tf.FOLDER.parent / "tests" / "data" / "google_provider_schema.json").read_text()
    assert json.loads(text)["format_version"] == "1.0"
    assert "6.50.0" in json.loads(text)["source"]
