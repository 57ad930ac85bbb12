"""The real Terraform on the real configuration: valid, applied, stable, destroyed – in a cloud that is imaginary."""

import subprocess

import pytest

from tests.world import terraform
from tests.world.terraform_provider import Provider

pytestmark = pytest.mark.skipif(bool(terraform.missing()), reason=terraform.missing())


@pytest.fixture(scope="module")
def provider():
    with Provider() as running:
        yield running


@pytest.fixture(scope="module")
def applied(provider, tmp_path_factory):
    made = terraform.Terraform.copy(tmp_path_factory.mktemp("apply") / "terraform", provider)
    made.variables(
        alert_emails=["team@example.org"],
        budget={"billing_account": "012345-6789AB-CDEF01", "amount": 200},
        settings={"RUN_BUDGET_USD": "2.50"},
    )
    done = made("apply", "-auto-approve", "-input=false")
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def test_the_files_are_formatted():
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-recursive", "-diff"],
        check=False,
        cwd=terraform.ROOT / "terraform",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_the_configuration_is_valid_without_warnings(applied):
    done = applied("validate")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stdout


def test_a_second_plan_changes_nothing(applied):
    done = applied("plan", "-input=false", "-detailed-exitcode")
    assert done.returncode == 0, done.stdout


def test_a_deployed_image_is_left_alone(applied):
    """Cloud Build replaces images; the next plan must not put the first ones back."""
    done = applied(
        "plan",
        "-input=false",
        "-detailed-exitcode",
        "-var",
        'images={dispatcher="example.org/other",runner="example.org/other"}',
    )
    assert done.returncode == 0, done.stdout


def test_what_was_made_fits_together(applied):
    made = applied.resources()
    dispatcher = made["google_cloud_run_v2_service.dispatcher"]["template"][0]["containers"][0]
    environment = {item["name"]: item["value"] for item in dispatcher["env"]}
    outputs = applied.outputs()
    assert environment["PUBLIC_URL"] == outputs["dispatcher_url"]
    assert environment["CLAUDE_CLOUD_RUN_URL"] == outputs["runner_url"]
    assert environment["RUN_BUDGET_USD"] == "2.50"
    sweep = made['google_cloud_scheduler_job.this["sweep"]']["http_target"][0]
    assert sweep["uri"] == outputs["dispatcher_url"] + "/internal/sweep"
    assert sweep["oidc_token"][0]["audience"] == outputs["dispatcher_url"]
    members = {value["member"] for address, value in made.items() if "_iam_member." in address}
    assert not [member for member in members if "pullwright-runner@" in member]
    queue = made['google_cloud_tasks_queue.this["runs"]']["rate_limits"][0]
    assert (
        queue["max_concurrent_dispatches"]
        == made["google_cloud_run_v2_service.runner"]["template"][0]["scaling"][0]["max_instance_count"]
    )


def test_the_runner_s_files_fit_into_its_memory(applied):
    jobs = {
        name: value for name, value in applied.resources().items() if name.startswith("google_cloud_run_v2_job.runner")
    }
    limits = {
        name: value["template"][0]["template"][0]["containers"][0]["resources"][0]["limits"]
        for name, value in jobs.items()
    }
    assert {limit["memory"] for limit in limits.values()} == {"2Gi", "4Gi", "8Gi", "16Gi"}


def test_every_choice_is_tested_by_terraform_itself(provider, tmp_path):
    made = terraform.Terraform.copy(tmp_path / "terraform", provider)
    done = made("test")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failed" in done.stdout


@pytest.mark.parametrize(
    ("file", "line", "says"),
    [
        (
            "queues.tf",
            ("max_attempts       =", "max_attempt        ="),
            'An argument named "max_attempt" is not expected here',
        ),
        ("runner.tf", ("max_retries           = 0", 'max_retries           = "none"'), "a number is required"),
        (
            "schedule.tf",
            ('"google_cloud_scheduler_job"', '"google_cloud_schedule_job"'),
            "does not support resource type",
        ),
        (
            "bucket.tf",
            ("google_service_account.dispatcher.member", "google_service_account.dispatch.member"),
            "undeclared resource",
        ),
    ],
)
def test_mistakes_are_found(provider, tmp_path, file, line, says):
    made = terraform.Terraform.copy(tmp_path / "terraform", provider)
    path = made.folder / file
    assert line[0] in path.read_text()
    path.write_text(path.read_text().replace(*line, 1))
    done = made("validate")
    assert done.returncode == 1
    assert says in " ".join((done.stdout + done.stderr).split())


def test_everything_can_be_taken_down_again(provider, tmp_path):
    made = terraform.Terraform.copy(tmp_path / "terraform", provider)
    made.variables(deletion_protection=False, network={"enabled": False})
    for command in (["apply"], ["destroy"]):
        done = made(*command, "-auto-approve", "-input=false")
        assert done.returncode == 0, done.stdout + done.stderr
    assert applied_resources(made) == []


def applied_resources(made):
    return made("state", "list").stdout.split()
