"""Everything the forge knows and works with, in one place; the nouns' files say what may be done with it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from infra.core.clock import HOUR, Clock
from infra.core.ids import Entropy
from infra.local.forge import account
from infra.local.forge.account import Account
from infra.local.forge.check import CheckRun, CommitStatus
from infra.local.forge.comment import Comment
from infra.local.forge.delivery import Delivery
from infra.local.forge.differences import Differences
from infra.local.forge.git import hooks
from infra.local.forge.git.processes import Git
from infra.local.forge.git.refs import Refs
from infra.local.forge.integration import App, Installation
from infra.local.forge.issue import Issue
from infra.local.forge.label import Label
from infra.local.forge.pull import Pull
from infra.local.forge.reaction import Reaction
from infra.local.forge.repository import Repository
from infra.local.forge.review import Review, ReviewComment
from infra.local.forge.tables import Database, Table
from infra.local.forge.thread import Resolution
from infra.local.forge.token import Token
from infra.local.forge.webhooks import Webhooks

_NOREPLY = re.compile(r"(\d{1,15})\+\S{1,100}@users\.noreply\.github\.com")


class World:
    """``url``: where the forge is reached, set when it listens. ``token_ttl`` in milliseconds."""

    def __init__(
        self, data: Path, *, clock: Clock, entropy: Entropy, operator: str = "you", token_ttl: int = HOUR
    ) -> None:
        self.url = ""
        self.now = clock
        self.entropy = entropy
        self.operator = operator
        self.token_ttl = token_ttl
        self.git_root, self.scratch = data / "git", data / "tmp"
        for folder in (self.git_root, self.scratch, data / "home"):
            folder.mkdir(parents=True, exist_ok=True)
        hooks.write(data / "hooks")
        self.git = Git(home=data / "home", hooks=data / "hooks", path=os.environ.get("PATH", os.defpath))
        self.refs = Refs(self.git, self.directory)
        self.differences = Differences(self.git, self.directory)
        self._database = Database(data / "forge.sqlite")
        self._open_tables(self._database)
        self.webhooks = Webhooks(self)
        self.manifests: dict[str, dict[str, Any]] = {}  # code → what it is exchanged for; lost with the process
        account.ensure(self, operator)

    def _open_tables(self, database: Database) -> None:
        self.accounts = Table(database, Account, key=lambda row: row.login.lower())
        self.apps = Table(database, App)
        self.installations = Table(database, Installation)
        self.tokens = Table(database, Token, key=lambda row: row.digest)
        self.repositories = Table(database, Repository, key=lambda row: (row.owner_login.lower(), row.name.lower()))
        self.labels = Table(
            database,
            Label,
            key=lambda row: (row.repository, row.name.lower()),
            group=lambda row: row.repository,
        )
        self.issues = Table(
            database, Issue, key=lambda row: (row.repository, row.number), group=lambda row: row.repository
        )
        self.pulls = Table(
            database, Pull, key=lambda row: (row.repository, row.number), group=lambda row: row.repository
        )
        self.comments = Table(database, Comment, group=lambda row: row.issue)
        self.reactions = Table(database, Reaction, group=lambda row: row.subject)
        self.reviews = Table(database, Review, group=lambda row: (row.repository, row.number))
        self.review_comments = Table(database, ReviewComment, group=lambda row: (row.repository, row.number))
        self.resolutions = Table(database, Resolution)
        self.checks = Table(database, CheckRun, group=lambda row: (row.repository, row.sha))
        self.statuses = Table(database, CommitStatus, group=lambda row: (row.repository, row.sha))
        self.deliveries = Table(database, Delivery)

    async def load(self) -> None:
        """Reads the refs of all repositories; once, before the first request."""
        for repository in self.repositories:
            await self.refs.refresh(repository.id)

    async def close(self) -> None:
        await self.webhooks.close()
        await self.git.close()
        self._database.close()

    def new_id(self) -> int:
        return self._database.next_id()

    def reserve_id(self, wanted: int) -> int:
        return self._database.reserve_id(wanted)

    def api(self, path: str) -> str:
        """The address of a REST resource, as on GitHub Enterprise."""
        return f"{self.url}/api/v3{path}"

    def directory(self, repository: int) -> Path:
        """The bare repository. Named by number: no name that somebody chose becomes a path."""
        return self.git_root / f"{repository}.git"

    def account_of(self, email: str) -> Account | None:
        """Whose commit it is, by GitHub's no-reply address."""
        match = _NOREPLY.fullmatch(email)
        return self.accounts.get(int(match[1])) if match else None
