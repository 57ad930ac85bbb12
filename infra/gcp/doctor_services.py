"""The doctor's look at the two services and the runner's job: who may call whom, and whether tokens fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra.core.diagnosis import Finding, fine, unknown, wrong
from infra.gcp.checkup import Checkup, environment
from infra.gcp.console import Seen
from infra.settings import DispatcherSettings, describe

NEEDED_SETTINGS = (
    "PUBLIC_URL",
    "CLAUDE_CLOUD_RUN_URL",
    "INVOKER_SERVICE_ACCOUNT",
    "ARTIFACT_BUCKET",
    "GOOGLE_CLOUD_PROJECT",
)
MAX_SKEW_SECONDS = 60
DEFAULTS = {name.lower(): default for name, default, _ in describe(DispatcherSettings)}


async def dispatcher(at: Checkup, service: Seen) -> list[Finding]:
    """Deployed, configured, open to webhooks, alive."""
    topic = "dispatcher"
    if service.status == 404:
        return [
            wrong(
                topic,
                f"There is no service {at.dispatcher} in {at.region}.",
                "terraform -chdir=terraform apply",
                at.gcloud(f"run services list --region {at.region}"),
            )
        ]
    if not service.there:
        return [at.unseen(topic, service, "roles/run.viewer")]
    settings = environment(service.content)
    findings = [at.settled(topic, service.content, at.dispatcher)]
    missing = [name for name in NEEDED_SETTINGS if not settings.get(name)]
    if settings.get("PLATFORM") != "google":
        missing.insert(0, "PLATFORM=google")
    if missing:
        findings.append(
            wrong("settings", f"The dispatcher lacks {', '.join(missing)}.", "terraform -chdir=terraform apply")
        )
    findings.append(_audience(service.content, settings))
    findings.append(await _open(at, service.content))
    findings.extend(await _answer(at, str(service.content.get("uri", ""))))
    return findings


async def _open(at: Checkup, service: Mapping[str, Any]) -> Finding:
    """Webhooks cannot carry a Google token: everybody must be able to call the dispatcher, which checks for itself."""
    topic = "invoker of the dispatcher"
    if service.get("invokerIamDisabled"):
        return fine(topic, "Everybody can call it; it checks signatures and keys itself.")
    policy = await at.console.policy("run", f"v2/{at.place}/services/{at.dispatcher}")
    if policy is None:
        return at.unseen(topic, Seen(403), "roles/run.viewer")
    if "allUsers" in policy.get("roles/run.invoker", frozenset()):
        return fine(topic, "Everybody can call it; it checks signatures and keys itself.")
    command = f"run services update {at.dispatcher} --region {at.region} --no-invoker-iam-check"
    return wrong(topic, "GitHub's webhooks are turned away: the invoker check is on.", at.gcloud(command))


async def _answer(at: Checkup, uri: str) -> list[Finding]:
    status, there = await at.console.health(f"{uri}/health")
    logs = at.gcloud(f"run services logs read {at.dispatcher} --region {at.region} --limit 50")
    if status != 200:
        said = f"GET {uri}/health " + (f"answered {status}." if status else "was not answered.")
        return [wrong("health", said, logs)]
    findings = [fine("health", f"{uri}/health answers.")]
    if there is not None:
        skew = abs(at.clock() - there)
        words = f"This machine's clock is {skew:.0f} s from Google's."
        findings.append(
            fine("clock", words) if skew <= MAX_SKEW_SECONDS else wrong("clock", words, "timedatectl status")
        )
    return findings


async def runner(at: Checkup) -> list[Finding]:
    """Deployed, closed to all but the queue, one run at a time, and without any power in the project."""
    topic = "runner service"
    seen = await at.service(at.runner)
    if seen.status == 404:
        return [wrong(topic, f"There is no service {at.runner}.", "terraform -chdir=terraform apply")]
    if not seen.there:
        return [at.unseen(topic, seen, "roles/run.viewer")]
    service, update = seen.content, f"run services update {at.runner} --region {at.region}"
    template = service.get("template", {})
    findings = [at.settled(topic, service, at.runner)]
    if service.get("invokerIamDisabled"):
        findings.append(
            wrong("invoker of the runner", "Everybody can call it.", at.gcloud(f"{update} --invoker-iam-check"))
        )
    else:
        findings.append(await _invokers(at, service))
    if template.get("maxInstanceRequestConcurrency") != 1:
        findings.append(wrong(topic, "An instance may get two runs at once.", at.gcloud(f"{update} --concurrency 1")))
    findings.append(_runner_audience(service, at.settings))
    findings.append(_powerless(at, str(template.get("serviceAccount", ""))))
    network = template.get("vpcAccess", {})
    way_out = "through the VPC, all traffic" if network.get("egress") == "ALL_TRAFFIC" else "straight to the internet"
    findings.append(
        unknown(
            "egress",
            f"Runners go out {way_out}; whether they reach GitHub and the model shows in their log only.",
            at.gcloud(f"run services logs read {at.runner} --region {at.region} --limit 50"),
        )
    )
    return findings


async def _invokers(at: Checkup, service: Mapping[str, Any]) -> Finding:
    topic, invoker = "invoker of the runner", at.settings.get("INVOKER_SERVICE_ACCOUNT", "")
    policy = await at.console.policy("run", f"v2/{at.place}/services/{at.runner}")
    if policy is None:
        return at.unseen(topic, Seen(403), "roles/run.viewer")
    members = policy.get("roles/run.invoker", frozenset())
    policy_command = f"run services %s-iam-policy-binding {at.runner} --region {at.region}"
    if strangers := members & {"allUsers", "allAuthenticatedUsers"}:
        commands = [
            at.gcloud(f"{policy_command % 'remove'} --member {member} --role roles/run.invoker")
            for member in sorted(strangers)
        ]
        return wrong(topic, f"{' and '.join(sorted(strangers))} can call it.", *commands)
    if f"serviceAccount:{invoker}" not in members:
        command = f"{policy_command % 'add'} --member serviceAccount:{invoker} --role roles/run.invoker"
        return wrong(topic, f"The queue's identity {invoker} may not call it.", at.gcloud(command))
    return fine(topic, f"{invoker} may call {service.get('uri', at.runner)}, the public may not.")


def _powerless(at: Checkup, account: str) -> Finding:
    topic = "runner's identity"
    if at.project_policy is None:
        return at.unseen(topic, Seen(403), "roles/browser")
    member = f"serviceAccount:{account}"
    roles = sorted(role for role, members in at.project_policy.items() if member in members)
    if roles:
        commands = [
            at.gcloud(f"projects remove-iam-policy-binding {at.project} --member {member} --role {role}")
            for role in roles
        ]
        return wrong(topic, f"An agent could use {', '.join(roles)} of {account}; it must have no role.", *commands)
    return fine(topic, f"{account} has no role in the project.")


async def jobs(at: Checkup) -> list[Finding]:
    """There, in every size, for runs that are too long for the service."""
    if at.settings.get("EXECUTOR") == "service":
        return [fine("runner job", "EXECUTOR=service: none is needed.")]
    prefix = at.settings.get("RUNNER_JOB") or DEFAULTS["runner_job"]
    sizes = at.settings.get("RUNNER_CLASSES") or DEFAULTS["runner_classes"]
    return [await _job(at, f"{prefix}-{size.strip()}") for size in sizes.split(",")]


async def _job(at: Checkup, name: str) -> Finding:
    topic = f"job {name}"
    seen = await at.console.look("run", f"v2/{at.place}/jobs/{name}")
    if seen.status == 404:
        listed = at.gcloud(f"run jobs list --region {at.region}")
        return wrong(topic, "It does not exist.", "terraform -chdir=terraform apply", listed)
    if not seen.there:
        return at.unseen(topic, seen, "roles/run.viewer")
    if seen.content.get("template", {}).get("template", {}).get("maxRetries"):
        command = f"run jobs update {name} --region {at.region} --max-retries 0"
        return wrong(topic, "Cloud Run would repeat a failed run by itself.", at.gcloud(command))
    return fine(topic, "It is there, and repeats nothing by itself.")


def _audience(service: Mapping[str, Any], settings: Mapping[str, str]) -> Finding:
    """Tasks and schedules ask for tokens for PUBLIC_URL, and runners call it."""
    own = settings.get("PUBLIC_URL", "").rstrip("/")
    urls = {str(service.get("uri", "")), *service.get("urls", [])}
    if own in urls:
        return fine("audience of the dispatcher", f"PUBLIC_URL is {own}.")
    return unknown(
        "audience of the dispatcher",
        f"PUBLIC_URL is {own or 'not set'}, but the service is at {' and '.join(sorted(urls))}; right only for a domain of your own.",
    )


def _runner_audience(service: Mapping[str, Any], settings: Mapping[str, str]) -> Finding:
    topic, expected = "audience of the runner", environment(service).get("RUNNER_AUDIENCE", "")
    sent = settings.get("RUNNER_AUDIENCE") or settings.get("CLAUDE_CLOUD_RUN_URL", "").rstrip("/")
    accepted = {str(service.get("uri", "")), *service.get("urls", []), *service.get("customAudiences", [])}
    if expected != sent:
        words = f"The dispatcher asks for tokens for {sent}, the runner wants them for {expected or 'nobody'}."
        return wrong(topic, words, "terraform -chdir=terraform apply")
    if sent not in accepted:
        return wrong(topic, f"Cloud Run does not accept tokens for {sent} there.", "terraform -chdir=terraform apply")
    return fine(topic, f"Both say {sent}.")
