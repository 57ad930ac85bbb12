"""The reading part of one repository (``infra.core.reading.Reading``)."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import urlsplit

from infra.core.ask import Via
from infra.core.context import LineSaid, Linked, Said, attachment_id, picture_urls
from infra.core.errors import Invalid, NotFound, PullwrightError
from infra.github import reading_calls as calls
from infra.github.downloads import PICTURE_HOSTS, host_of, is_log_host
from infra.github.sending import Sending

_SOURCE = re.compile(r'(?:src|href)="(https://[^"]{8,2000})"')


class Reading(Sending):
    async def changed_files(self, pull: int) -> tuple[str, ...]:
        changes = await self._collect(calls.changed_files(self._repository, pull))
        return tuple(path for names in changes for path in names)

    async def in_team(self, team: str, login: str) -> bool:
        try:
            return await self._send(calls.membership(self._repository.owner, team, login))
        except NotFound:
            return False

    async def app_behind(self, login: str) -> int:
        try:
            return await self._send(calls.app_behind(login))
        except (Invalid, NotFound):
            return 0

    async def said_on(self, number: int) -> tuple[Said, ...]:
        return await self._collect(calls.said_on(self._repository, number))

    async def lines_said_on(self, pull: int) -> tuple[LineSaid, ...]:
        return await self._collect(calls.lines_said_on(self._repository, pull))

    async def linked(self, number: int) -> Linked:
        return await self._send(calls.linked(self._repository, number))

    async def annotations(self, check: int) -> tuple[str, ...]:
        return await self._send(calls.notes_of(self._repository, check))

    async def job_log(self, job: int, most: int) -> str:
        call = calls.job_log(self._repository, job)
        address = await self._authorized(lambda token: self._transport.location(call, token, self._pace))
        if not is_log_host(host_of(address)):
            raise NotFound("The log is not where GitHub keeps logs.", code="github_no_file")
        return (await self._transport.fetch(address, most=most, end_only=True)).decode(errors="replace")

    async def pictures(self, via: Via, number: int, texts: tuple[str, ...], most: int) -> tuple[bytes, ...]:
        wanted = picture_urls(texts, (urlsplit(self._git_url).netloc, *PICTURE_HOSTS))
        if not wanted:
            return ()
        rendered = await self._send(calls.rendered(self._repository, via, number)) if any(map(_signed, wanted)) else ""
        found = []
        for url in wanted:
            address = signed_address(url, rendered)
            if address:
                try:
                    found.append(await self._transport.fetch(address, most=most))
                except PullwrightError:
                    continue  # a picture less is no reason to do nothing
        return tuple(found)


def _signed(url: str) -> bool:
    """Whether the address in the text opens nothing by itself: attachments need the signature that the rendering carries."""
    return host_of(url) not in PICTURE_HOSTS


def signed_address(url: str, rendered: str) -> str:
    """Where a picture of a text is to be had: at its own address, or at the signed one that the rendering has for it."""
    if not _signed(url):
        return url
    wanted = attachment_id(url)
    for match in _SOURCE.finditer(rendered):
        address = unescape(match[1])
        if wanted and wanted in urlsplit(address).path and host_of(address) in PICTURE_HOSTS:
            return address
    return ""
