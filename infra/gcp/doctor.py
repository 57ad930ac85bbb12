"""``pullwright doctor --cloud``: looks at a Google Cloud project as it is and says what is wrong and what to type.

It starts from what is deployed: the dispatcher's own settings say which queues, secrets and accounts there must be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from infra.core.diagnosis import Finding, fine, unknown, wrong
from infra.core.errors import PullwrightError
from infra.gcp import doctor_services as services
from infra.gcp import doctor_stores as stores
from infra.gcp.checkup import Checkup, environment

NEEDED_APIS = ("run", "cloudtasks", "firestore", "secretmanager", "storage", "cloudscheduler", "iamcredentials")

Look = Callable[[Checkup], Awaitable[list[Finding]]]
LOOKS: tuple[Look, ...] = (
    services.runner,
    services.jobs,
    stores.queues,
    stores.acting,
    stores.secrets,
    stores.documents,
    stores.bucket,
)


async def examine(at: Checkup) -> list[Finding]:
    """Everything, in the order in which it should be put right. Raises ``Unavailable`` when Google cannot be asked at all."""
    findings = [await _apis(at)]
    at.project_policy = await at.console.policy("cloudresourcemanager", f"v1/projects/{at.project}", method="POST")
    service = await at.service(at.dispatcher)
    findings += await services.dispatcher(at, service)
    if not service.there:
        return findings
    at.settings = environment(service.content)
    at.account = str(service.content.get("template", {}).get("serviceAccount", ""))
    for found in await asyncio.gather(*(_safely(look, at) for look in LOOKS)):
        findings += found
    return findings


async def _safely(look: Look, at: Checkup) -> list[Finding]:
    try:
        return await look(at)
    except PullwrightError as error:
        return [unknown(getattr(look, "__name__", "check"), f"{error.message} {error.hint}".strip())]


async def _apis(at: Checkup) -> Finding:
    names = "&".join(f"names=projects/{at.project}/services/{name}.googleapis.com" for name in NEEDED_APIS)
    seen = await at.console.look("serviceusage", f"v1/projects/{at.project}/services:batchGet?{names}")
    if not seen.there:
        return at.unseen("APIs", seen, "roles/serviceusage.serviceUsageViewer")
    on = {one["config"]["name"] for one in seen.content.get("services", []) if one.get("state") == "ENABLED"}
    off = [f"{name}.googleapis.com" for name in NEEDED_APIS if f"{name}.googleapis.com" not in on]
    if off:
        return wrong("APIs", f"Not enabled: {', '.join(off)}.", at.gcloud(f"services enable {' '.join(off)}"))
    return fine("APIs", f"All {len(NEEDED_APIS)} are enabled.")
