"""Settings → collaborators: the only file of the control plane that names an adapter.

Adapters are imported inside the functions that choose them, so that a cold start loads only what it uses.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path

from dispatcher.bell import Bell
from dispatcher.services import Services
from dispatcher.tail import Tails
from dispatcher.trigger_book import TriggerBook
from infra.core.bucket import Bucket
from infra.core.clock import DAY, Clock, Instant
from infra.core.errors import Invalid
from infra.core.execution import Executions
from infra.core.forge import AccessToken, Forge
from infra.core.queue import Queue
from infra.core.run import Limits
from infra.core.secrets import Secrets
from infra.core.slots import Caps
from infra.core.store import Documents
from infra.core.trigger import Policy
from infra.core.triggers import default_triggers
from infra.platform_secrets import (
    ANTHROPIC_API_KEY,
    ANTHROPIC_AUTH_TOKEN,
    APP_ID,
    APP_PRIVATE_KEY,
    CLAUDE_CODE_OAUTH_TOKEN,
    INTERNAL_KEY,
    WEBHOOK_SECRET,
    PlatformSecrets,
)
from infra.records.commands import Commands
from infra.records.deliveries import Deliveries
from infra.records.indexes import INDEXES
from infra.records.keys import ApiKeys
from infra.records.nonces import Nonces
from infra.records.projects import Projects
from infra.records.repairs import Repairs
from infra.records.runs import Runs
from infra.records.slots import RunSlots
from infra.records.subjects import Subjects
from infra.records.telling import Telling
from infra.records.timelines import Timelines
from infra.settings import DispatcherSettings, required
from infra.system_clock import system_clock

MICROS = 1_000_000


def connect(settings: DispatcherSettings, clock: Clock = system_clock) -> Services:
    """Everything the handlers need. Opens local files; contacts nothing outside yet."""
    store = _documents(settings, clock)
    runs = Runs(store)
    secrets = _secrets(settings)
    platform = PlatformSecrets(store=secrets, given=_given(settings), clock=clock)
    forge = _forge(settings, platform, clock)
    bell = Bell()
    timelines = Timelines(store, retention=settings.event_retention_days * DAY)
    return Services(
        settings=settings,
        policy=_policy(settings),
        clock=clock,
        entropy=os.urandom,
        store=store,
        queue=_queue(settings, clock),
        secrets=secrets,
        bucket=_bucket(settings),
        executions=_executions(settings),
        runs=runs,
        slots=RunSlots(
            store, runs, Caps(total=settings.max_concurrent_runs, per_repository=settings.max_runs_per_repository)
        ),
        timelines=timelines,
        deliveries=Deliveries(store),
        keys=ApiKeys(store),
        nonces=Nonces(store),
        subjects=Subjects(store),
        triggers=TriggerBook(
            projects=Projects(store),
            defaults=default_triggers(settings.trigger_label),
            clock=clock,
        ),
        commands=Commands(store, retention=settings.event_retention_days * DAY),
        telling=Telling.on(store),
        repairs=Repairs(store),
        tails=Tails.over(runs=runs, timelines=timelines, bell=bell, own_url=settings.own_url),
        bell=bell,
        command_bell=Bell(),
        forge=forge,
        platform=platform,
        check_internal=_internal_check(settings, platform, clock),
        cloud_token=_cloud_token(settings, clock),
    )


def _policy(settings: DispatcherSettings) -> Policy:
    limits = Limits(
        budget_micros=round(settings.run_budget_usd * MICROS),
        wall_seconds=settings.run_timeout_seconds,
        idle_seconds=settings.run_idle_seconds,
        max_turns=settings.run_max_turns,
    )
    return Policy(
        model=settings.claude_model,
        limits=limits,
        allowed_models=settings.allowed_model_list,
        own_app=int(settings.github_app_id) if settings.github_app_id.isdecimal() else 0,
    )


def _given(settings: DispatcherSettings) -> dict[str, str]:
    return {
        APP_ID: settings.github_app_id,
        APP_PRIVATE_KEY: settings.github_app_private_key,
        WEBHOOK_SECRET: settings.github_webhook_secret,
        ANTHROPIC_API_KEY: settings.anthropic_api_key,
        ANTHROPIC_AUTH_TOKEN: settings.anthropic_auth_token,
        CLAUDE_CODE_OAUTH_TOKEN: settings.claude_code_oauth_token,
    }


def _documents(settings: DispatcherSettings, clock: Clock) -> Documents:
    if settings.platform == "google":
        from infra.gcp.firestore import FirestoreDocuments

        return FirestoreDocuments(
            project=settings.google_cloud_project, database=settings.firestore_database, clock=clock
        )
    from infra.local.documents import SqliteDocuments

    return SqliteDocuments.open(Path(settings.data_dir) / "state.db", clock, indexes=INDEXES)


def _secrets(settings: DispatcherSettings) -> Secrets:
    if settings.platform == "google":
        from infra.gcp.secrets import SecretManagerSecrets

        return SecretManagerSecrets(project=settings.google_cloud_project, endpoint=settings.secret_manager_endpoint)
    from infra.local.secrets import FileSecrets

    return FileSecrets(Path(settings.data_dir) / "secrets", entropy=os.urandom)


def _queue(settings: DispatcherSettings, clock: Clock) -> Queue:
    if settings.platform == "google":
        from infra.gcp.tasks import CloudTasksQueue

        return CloudTasksQueue(
            project=settings.google_cloud_project,
            region=settings.google_cloud_region,
            queue=settings.runs_queue,
            own_queue=settings.internal_queue,
            own_url=settings.own_url,
            service_account=settings.invoker_service_account,
            clock=clock,
            endpoint=settings.cloud_tasks_endpoint,
        )
    from infra.local.queue import LocalQueue

    return LocalQueue(Path(settings.data_dir) / "queue.db", clock)


def _bucket(settings: DispatcherSettings) -> Bucket:
    if settings.platform == "google":
        from infra.gcp.buckets import CloudStorageBucket

        return CloudStorageBucket(
            project=settings.google_cloud_project,
            bucket=settings.artifact_bucket,
            endpoint=settings.storage_endpoint,
        )
    from infra.local.bucket import FolderBucket

    return FolderBucket(Path(settings.data_dir) / "artifacts")


def _executions(settings: DispatcherSettings) -> Callable[[], Executions]:
    """Connected at first use: only launches of jobs need it."""

    @cache
    def connect_executions() -> Executions:
        if settings.platform == "local":
            raise Invalid("There are no job executions with PLATFORM=local.", code="no_executions")
        from infra.gcp.jobs import CloudRunExecutions

        return CloudRunExecutions(
            project=settings.google_cloud_project,
            region=settings.google_cloud_region,
            prefix=settings.runner_job,
            endpoint=settings.cloud_run_endpoint,
        )

    return connect_executions


def _forge(settings: DispatcherSettings, platform: PlatformSecrets, clock: Clock) -> Callable[[], Awaitable[Forge]]:
    """Connected at first use, and anew when the App's credentials have changed: they may be stored after the start."""
    connected: dict[tuple[bytes, bytes], Forge] = {}

    async def connect_forge() -> Forge:
        credentials = (await platform.one(APP_ID), await platform.one(APP_PRIVATE_KEY))
        if credentials not in connected:
            before = list(connected.values())
            connected.clear()
            connected[credentials] = _github(settings, *credentials, clock)
            for forge in before:
                await forge.close()
        return connected[credentials]

    return connect_forge


def _github(settings: DispatcherSettings, app_id: bytes, private_key: bytes, clock: Clock) -> Forge:
    from infra.github.app_auth import AppCredentials
    from infra.github.client import GitHubForge

    return GitHubForge.connect(
        api_url=settings.github_api_url,
        git_url=settings.github_url,
        credentials=AppCredentials(app_id.decode(), private_key.decode()),
        clock=clock,
    )


def _cloud_token(settings: DispatcherSettings, clock: Clock) -> Callable[[], Awaitable[AccessToken]]:
    """A person's own token where one is given, else that of the service account, which only the cloud has."""
    if settings.vertex_user_token or settings.platform != "google":

        async def given() -> AccessToken:
            return AccessToken(value=required(settings.vertex_user_token, "VERTEX_USER_TOKEN"), expires_at=Instant(0))

        return given
    made: list[Callable[[], Awaitable[AccessToken]]] = []

    async def own() -> AccessToken:
        if not made:
            from infra.gcp.metadata import Metadata

            made.append(Metadata(clock=clock, host=settings.gce_metadata_host).access_token)
        return await made[0]()

    return own


def _internal_check(
    settings: DispatcherSettings, platform: PlatformSecrets, clock: Clock
) -> Callable[[str], Awaitable[None]]:
    """Who may call ``/internal``: in the cloud the invoker's service account, in local mode whoever holds a token signed
    with the internal key."""
    if settings.platform == "google":
        return _google_check(settings, clock)

    async def check(token: str) -> None:
        from infra.local.identity import verify

        verify(await platform.one(INTERNAL_KEY), token, audience=settings.own_url, now=clock())

    return check


def _google_check(settings: DispatcherSettings, clock: Clock) -> Callable[[str], Awaitable[None]]:
    """Made at the first such call: the first webhook after a pause must not wait for its imports."""
    made: list[Callable[[str], Awaitable[str]]] = []

    async def check(token: str) -> None:
        if not made:
            from infra.gcp.identity import GoogleCallers, GoogleKeys

            keys = GoogleKeys(clock=clock, certs_url=settings.google_certs_url)
            emails = frozenset({settings.invoker_service_account})
            made.append(GoogleCallers(keys=keys, audience=settings.own_url, emails=emails, clock=clock).verify)
        await made[0](token)

    return check
