"""The platform's own secrets: what they are called, and how they are read (from the environment first, then the store).

Values are kept in memory for a few minutes, so that a rotation takes effect without a restart and without a look-up
per request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from infra.core.clock import MINUTE, Clock, Instant, later
from infra.core.errors import Unavailable
from infra.core.secrets import Secret, Secrets

# names in the store, and the variable that takes precedence over each ("" when there is none)
RUN_TOKEN_KEY = "run-token-key"  # noqa: S105 – a name, not a value
INTERNAL_KEY = "internal-key"
WEBHOOK_SECRET = "github-webhook-secret"  # noqa: S105 – a name, not a value
APP_ID = "github-app-id"
APP_PRIVATE_KEY = "github-app-private-key"
ANTHROPIC_API_KEY = "anthropic-api-key"
ANTHROPIC_AUTH_TOKEN = "anthropic-auth-token"  # noqa: S105 – a name, not a value
CLAUDE_CODE_OAUTH_TOKEN = "claude-code-oauth-token"  # noqa: S105 – a name, not a value

_FRESH = 5 * MINUTE
_STALE = 30 * MINUTE
"""How much longer a value is used while the store is down: a webhook that is turned away does not come again."""


@dataclass(slots=True)
class PlatformSecrets:
    """``given`` holds what the settings say, by secret name; empty text counts as not given."""

    store: Secrets
    given: Mapping[str, str]
    clock: Clock
    _cache: dict[str, tuple[Instant, tuple[Secret, ...]]] = field(default_factory=dict)

    async def one(self, name: str) -> bytes:
        """The current value. Raises ``Unavailable`` with a sentence that names the setting."""
        return (await self.current(name))[0]

    def forget(self, name: str) -> None:
        """The value has changed: this process reads it anew; others do within minutes."""
        self._cache.pop(name, None)

    async def current(self, name: str) -> tuple[bytes, ...]:
        """Newest first; during a rotation the value before it is still there. Raises ``Unavailable`` when there is none."""
        if self.given.get(name):
            return (self.given[name].encode(),)
        now = self.clock()
        until, versions = self._cache.get(name, (Instant(0), ()))
        if until <= now:
            versions = await self._asked(name, until, versions, now)
        if not versions:
            variable = name.upper().replace("-", "_")
            raise Unavailable(
                f"{variable} not set", code="missing_setting", hint=f"Set {variable}, or store it as the secret {name}."
            )
        return tuple(version.value for version in versions)

    async def _asked(self, name: str, until: Instant, known: tuple[Secret, ...], now: Instant) -> tuple[Secret, ...]:
        """From the store; while that does not answer, what was known a short while ago."""
        try:
            versions = await self.store.versions(name, limit=2)
        except Unavailable:
            if not known or now - until > _STALE:
                raise
            return known
        if versions:
            self._cache[name] = (later(now, _FRESH), versions)
        return versions
