"""Whether the gateway can be reached from here, and whether it knows this run: asked for real, told in sentences."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx

from infra.core.errors import Invalid, PullwrightError
from runner.gateway import Gateway


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """``what`` was tried, whether it went ``well``, and the words of whoever answered."""

    what: str
    well: bool
    words: str


def may_trust_itself(url: str, setting: str) -> bool:
    """Whether a certificate that nobody vouches for is accepted: ``true`` only for this very machine, ``always`` for any.

    Raises ``Invalid`` when ``true`` is asked for another machine: what would be sent there is the run's token.
    """
    if setting == "false" or not url.startswith("https:"):
        return False
    if setting == "always" or is_loopback(urlsplit(url).hostname or ""):
        return True
    raise Invalid(
        "ALLOW_SELF_SIGNED=true is only for a gateway on this machine.",
        code="self_signed_elsewhere",
        hint="Give the gateway a certificate that is known here (SSL_CERT_FILE), or insist with ALLOW_SELF_SIGNED=always.",
    )


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def findings(gateway: Gateway, *, has_run: bool) -> list[Finding]:
    """In the order of what builds on what; stops at the first that fails."""
    found = [await _tried("the gateway answers", lambda: _health(gateway))]
    if found[-1].well and has_run:
        found.append(await _tried("token and signature are accepted", lambda: _commands(gateway)))
    return found


async def _tried(what: str, attempt: Callable[[], Awaitable[str]]) -> Finding:
    try:
        return Finding(what=what, well=True, words=await attempt())
    except PullwrightError as error:
        return Finding(what=what, well=False, words=f"{error.message} {error.hint}".strip())
    except (httpx.HTTPError, ssl.SSLError) as error:
        return Finding(
            what=what, well=False, words=f"{type(error).__name__}: {error}. Check GATEWAY_URL and the network."
        )


async def _health(gateway: Gateway) -> str:
    return await gateway.health()


async def _commands(gateway: Gateway) -> str:
    await gateway.commands(0, 0)
    return "The run is known and not over."
