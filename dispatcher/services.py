"""The collaborators of every handler, made once by ``wiring.py`` and handed down; nobody looks them up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from dispatcher.bell import Bell
from dispatcher.tail import Tails
from dispatcher.trigger_book import TriggerBook
from infra.core.bucket import Bucket
from infra.core.clock import Clock
from infra.core.execution import Executions
from infra.core.forge import AccessToken, Forge
from infra.core.ids import Entropy
from infra.core.queue import Queue
from infra.core.secrets import Secrets
from infra.core.store import Documents
from infra.core.trigger import Policy
from infra.platform_secrets import PlatformSecrets
from infra.records.commands import Commands
from infra.records.deliveries import Deliveries
from infra.records.keys import ApiKeys
from infra.records.nonces import Nonces
from infra.records.repairs import Repairs
from infra.records.runs import Runs
from infra.records.slots import RunSlots
from infra.records.subjects import Subjects
from infra.records.telling import Telling
from infra.records.timelines import Timelines
from infra.settings import DispatcherSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """``forge`` is a function because the App may be configured after the start (and must be, to be used).
    ``executions`` is one because most processes never start any, and raises ``Invalid`` where there are none.
    ``bell`` tells of a run's state and events, ``command_bell`` of what people ask of it.
    ``cloud_token`` gives a token for Google's APIs in this program's own name; one that does not end has ``expires_at`` 0."""

    settings: DispatcherSettings
    policy: Policy
    clock: Clock
    entropy: Entropy
    store: Documents
    queue: Queue
    secrets: Secrets
    bucket: Bucket
    executions: Callable[[], Executions]
    runs: Runs
    slots: RunSlots
    timelines: Timelines
    deliveries: Deliveries
    keys: ApiKeys
    nonces: Nonces
    subjects: Subjects
    triggers: TriggerBook
    commands: Commands
    telling: Telling
    repairs: Repairs
    tails: Tails
    bell: Bell
    command_bell: Bell
    forge: Callable[[], Awaitable[Forge]]
    platform: PlatformSecrets
    check_internal: Callable[[str], Awaitable[None]]
    cloud_token: Callable[[], Awaitable[AccessToken]]
