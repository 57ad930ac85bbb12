"""The doctor's look at what the dispatcher uses: queues, secrets, documents, objects, and its right to use them."""

from __future__ import annotations

from infra.core.diagnosis import Finding, fine, wrong
from infra.gcp.checkup import Checkup
from infra.platform_secrets import APP_ID, APP_PRIVATE_KEY, RUN_TOKEN_KEY, WEBHOOK_SECRET
from infra.records.indexes import COMPOSITE, EXPIRING


async def queues(at: Checkup) -> list[Finding]:
    findings = []
    for name in (at.settings.get("RUNS_QUEUE", "runs"), at.settings.get("INTERNAL_QUEUE", "internal")):
        topic = f"queue {name}"
        seen = await at.console.look("cloudtasks", f"v2/{at.place}/queues/{name}")
        if seen.status == 404:
            findings.append(wrong(topic, "It does not exist.", "terraform -chdir=terraform apply"))
        elif not seen.there:
            findings.append(at.unseen(topic, seen, "roles/cloudtasks.viewer"))
        elif seen.content.get("state") != "RUNNING":
            command = f"tasks queues resume {name} --location {at.region}"
            findings.append(wrong(topic, f"It is {seen.content.get('state')}.", at.gcloud(command)))
        else:
            policy = await at.console.policy("cloudtasks", f"v2/{at.place}/queues/{name}", method="POST")
            add = f"tasks queues add-iam-policy-binding {name} --location {at.region}"
            findings.append(at.granted(topic, policy, "roles/cloudtasks.enqueuer", add))
    return findings


async def acting(at: Checkup) -> list[Finding]:
    invoker = at.settings.get("INVOKER_SERVICE_ACCOUNT", "")
    policy = await at.console.policy("iam", f"v1/projects/{at.project}/serviceAccounts/{invoker}", method="POST")
    add = f"iam service-accounts add-iam-policy-binding {invoker}"
    return [at.granted("tokens of tasks", policy, "roles/iam.serviceAccountUser", add)]


async def secrets(at: Checkup) -> list[Finding]:
    needed = [RUN_TOKEN_KEY, WEBHOOK_SECRET, APP_PRIVATE_KEY]
    if not at.settings.get("GITHUB_APP_ID"):
        needed.append(APP_ID)
    return [await _secret(at, name) for name in needed]


async def _secret(at: Checkup, name: str) -> Finding:
    topic, path = f"secret {name}", f"v1/projects/{at.project}/secrets/{name}"
    seen = await at.console.look("secretmanager", f"{path}/versions?filter=state:ENABLED&pageSize=1")
    create = at.gcloud(f"secrets create {name} --replication-policy automatic")
    add = at.gcloud(f"secrets versions add {name} --data-file=-")
    if seen.status == 404:
        return wrong(topic, "It does not exist.", create, add)
    if not seen.there:
        return at.unseen(topic, seen, "roles/secretmanager.viewer")
    if not seen.content.get("versions"):
        return wrong(topic, "It has no enabled version.", add)
    policy = await at.console.policy("secretmanager", path)
    return at.granted(topic, policy, "roles/secretmanager.secretAccessor", f"secrets add-iam-policy-binding {name}")


async def documents(at: Checkup) -> list[Finding]:
    database = at.settings.get("FIRESTORE_DATABASE", "(default)")
    path = f"v1/projects/{at.project}/databases/{database}"
    seen = await at.console.look("firestore", path)
    if seen.status == 404:
        command = f"firestore databases create --database '{database}' --location {at.region}"
        return [wrong("database", f"There is no Firestore database {database}.", at.gcloud(command))]
    if not seen.there:
        return [at.unseen("database", seen, "roles/datastore.viewer")]
    findings = [fine("database", f"{database} is there.")]
    for collection in sorted({collection for collection, _ in COMPOSITE}):
        indexes = await at.console.look("firestore", f"{path}/collectionGroups/{collection}/indexes")
        states = {index.get("state") for index in indexes.content.get("indexes", [])}
        topic = f"index of {collection}"
        if indexes.hidden:
            findings.append(at.unseen(topic, indexes, "roles/datastore.viewer"))
        elif "READY" not in states:
            words = "It is being built; that takes minutes." if states else "It is missing."
            listed = at.gcloud(f"firestore indexes composite list --database '{database}'")
            findings.append(wrong(topic, words, "terraform -chdir=terraform apply", listed))
        else:
            findings.append(fine(topic, "It is ready."))
    return findings + [await _expiry(at, path, collection, database) for collection in EXPIRING]


async def _expiry(at: Checkup, path: str, collection: str, database: str) -> Finding:
    topic = f"expiry of {collection}"
    seen = await at.console.look("firestore", f"{path}/collectionGroups/{collection}/fields/expire_at")
    if seen.hidden:
        return at.unseen(topic, seen, "roles/datastore.viewer")
    if seen.content.get("ttlConfig", {}).get("state") in {"ACTIVE", "CREATING"}:
        return fine(topic, "Expired documents are removed.")
    command = (
        f"firestore fields ttls update expire_at --collection-group {collection} --enable-ttl --database '{database}'"
    )
    return wrong(topic, "Nothing removes expired documents.", at.gcloud(command))


async def bucket(at: Checkup) -> list[Finding]:
    name = at.settings.get("ARTIFACT_BUCKET", "")
    seen = await at.console.look("storage", f"storage/v1/b/{name}")
    if seen.status == 404:
        command = f"storage buckets create gs://{name} --location {at.region} --uniform-bucket-level-access"
        return [wrong("bucket", f"There is no bucket {name}.", at.gcloud(command))]
    if not seen.there:
        return [at.unseen("bucket", seen, "roles/storage.bucketViewer")]
    if seen.content.get("iamConfiguration", {}).get("publicAccessPrevention") != "enforced":
        command = f"storage buckets update gs://{name} --public-access-prevention"
        return [wrong("bucket", f"{name} can be made public by mistake.", at.gcloud(command))]
    return [fine("bucket", f"{name} is there, and cannot be public.")]
