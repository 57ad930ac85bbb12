"""Files that GitHub keeps outside of its API: pictures in comments, and logs of jobs. Fetched without any token, from GitHub's own
hosts only, following nothing. Addresses come from GitHub's answers and carry a short-lived signature of their own.
"""

from __future__ import annotations

import asyncio
import re
from urllib.parse import urlsplit

import httpx

from infra.core.errors import Invalid, NotFound, TooLarge, Unavailable

SECONDS = 20.0
_MOST_READ = 50_000_000

# https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/about-githubs-ip-addresses (domains: GET /meta)
PICTURE_HOSTS = ("private-user-images.githubusercontent.com", "user-images.githubusercontent.com")
_LOG_HOST = re.compile(
    r"[a-z0-9-]+\.actions\.githubusercontent\.com|productionresultssa[0-9]+\.blob\.core\.windows\.net"
)


def is_log_host(host: str) -> bool:
    """Where the logs of GitHub Actions are. https://docs.github.com/en/actions/reference/runners/self-hosted-runners#communication-requirements"""
    return _LOG_HOST.fullmatch(host) is not None


def host_of(url: str) -> str:
    """The host, with its port where one is named; empty unless the address is plain https (or http to this machine)."""
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost"}
    if parts.username is not None or not (parts.scheme == "https" or local):
        return ""
    return parts.netloc


async def fetch(http: httpx.AsyncClient, url: str, *, most: int, end_only: bool = False) -> bytes:
    """The file, of at most ``most`` bytes; ``end_only``: the last ``most`` bytes of a longer one.

    Raises ``TooLarge``, ``NotFound``, or ``Unavailable``.
    """
    try:
        async with asyncio.timeout(SECONDS), http.stream("GET", url, follow_redirects=False) as response:
            if response.status_code != 200:
                raise NotFound(f"GitHub's file could not be fetched ({response.status_code}).", code="github_no_file")
            return await _read(response, most, end_only=end_only)
    except (httpx.HTTPError, TimeoutError) as error:
        raise Unavailable(
            f"GitHub's file could not be fetched ({type(error).__name__}).", code="github_unreachable"
        ) from error
    except httpx.InvalidURL as error:
        raise Invalid("That is no address of a file.", code="invalid_url") from error


async def _read(response: httpx.Response, most: int, *, end_only: bool) -> bytes:
    kept, read = bytearray(), 0
    async for piece in response.aiter_bytes():
        kept += piece
        read += len(piece)
        if read > (_MOST_READ if end_only else most):
            raise TooLarge(f"GitHub's file is larger than {most:,} bytes.", code="github_file_too_large")
        if len(kept) > 2 * most:
            del kept[:-most]
    return bytes(kept[-most:])
