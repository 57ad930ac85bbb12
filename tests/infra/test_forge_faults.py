"""Faults on order, and the log of calls."""

import time

import httpx
import pytest

from infra.local.forge.faults import Fault
from tests.world.forge import bearer, forge_world


@pytest.fixture
async def github(tmp_path):
    async with forge_world(tmp_path) as world:
        yield world


async def comment(github, number=1):
    return await github.http.post(
        f"{github.path}/issues/{number}/comments", headers=bearer(github.person), json={"body": "hi"}
    )


@pytest.fixture
async def issue(github):
    return await github.forge.open_issue(github.repo, "t")


async def test_a_fault_hits_as_often_as_asked_and_nothing_else(github, issue):
    github.forge.faults.add(
        Fault(method="POST", path=r"/comments$", times=2, status=502, headers={"Retry-After": "3"}, body=b"busy")
    )
    assert (await github.http.get(f"{github.path}/issues/1/comments", headers=bearer(github.person))).status_code == 200
    answers = [await comment(github) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [502, 502, 201]
    assert (answers[0].headers["retry-after"], answers[0].text) == ("3", "busy")
    assert github.forge.faults.waiting == 0
    assert len(github.forge.world.comments.of(issue.id)) == 1


@pytest.mark.parametrize(("drop", "stored"), [("before", 0), ("after", 1)])
async def test_a_connection_breaks_before_or_after_the_effect(github, issue, drop, stored):
    github.forge.faults.add(Fault(method="POST", path="/comments$", drop=drop))
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await comment(github)
    assert len(github.forge.world.comments.of(issue.id)) == stored
    assert (await comment(github)).status_code == 201
    assert [row.status for row in github.forge.calls if row.method == "POST"] == [0, 201]


async def test_a_late_answer_is_still_an_answer(github, issue):
    github.forge.faults.add(Fault(path="/comments$", delay=0.1))
    started = time.perf_counter()
    assert (await comment(github)).status_code == 201
    assert time.perf_counter() - started >= 0.1


async def test_git_can_be_broken_too(github):
    github.forge.faults.add(Fault(path=r"info/refs$", status=503))
    answer = await github.http.get(f"{github.forge.url}/acme/shop.git/info/refs?service=git-upload-pack")
    assert answer.status_code == 503


async def test_a_bad_expression_is_refused_when_it_is_ordered(github):
    with pytest.raises(Exception, match="unterminated"):
        github.forge.faults.add(Fault(path="[", status=500))
    assert github.forge.faults.waiting == 0


async def test_every_call_is_in_the_log_with_who_and_what(github, issue):
    await comment(github)
    (row,) = github.forge.calls.matching("POST", f"{github.path}/issues/1/comments")
    assert (row.status, row.actor, row.body) == (201, "alice", {"body": "hi"})
    github.forge.calls.clear()
    assert len(github.forge.calls) == 0
