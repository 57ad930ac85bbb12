"""Deliveries that did not arrive are asked for again until they have; and everything that came in can be looked up."""

import pytest

from infra.core.clock import DAY, MINUTE
from infra.core.hook import MOST_ATTEMPTS
from infra.local import identity
from infra.platform_secrets import INTERNAL_KEY
from tests.world.control_plane import SECRET, URL
from tests.world.forge import APP_ID
from tests.world.receiver import served


async def reconcile(plane):
    key = await plane.services.platform.one(INTERNAL_KEY)
    token = identity.issue(key, audience=URL, now=plane.now)
    answer = await plane.http.post("/internal/reconcile-deliveries", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def labelled(plane):
    """An issue with the label, whose webhook goes to wherever the hook points."""
    forge = plane.github.forge
    await forge.open_issue(plane.github.repo, "Totals are wrong", "By one.", labels=("claude",), author="alice")
    await forge.drain()


def point(plane, url, secret=SECRET):
    plane.github.forge.set_webhook(f"{url}/webhook/github", secret.decode(), APP_ID)


async def runs(plane):
    return (await plane.services.runs.list()).runs


async def test_what_did_not_arrive_is_asked_for_again(plane):
    point(plane, "http://127.0.0.1:9")
    await labelled(plane)
    async with served(plane.app) as url:
        point(plane, url)
        first = await reconcile(plane)
        assert first["missed"] >= 1
        assert first["asked_again"] == first["missed"]
        await plane.github.forge.drain()
        assert len(await runs(plane)) == 1
        plane.github.clock.forward(3 * MINUTE)
        second = await reconcile(plane)
        assert (second["missed"], second["asked_again"], second["arrived"]) == (0, 0, first["missed"])
        await plane.github.forge.drain()
    assert len(await runs(plane)) == 1


async def test_a_wrong_secret_is_worth_another_try_and_a_body_that_does_not_fit_is_not(plane):
    async with served(plane.app) as url:
        point(plane, url, b"another secret")
        await labelled(plane)
        point(plane, url)
        assert (await reconcile(plane))["asked_again"] >= 1
        await plane.github.forge.drain()
        assert len(await runs(plane)) == 1


async def test_the_pauses_grow_and_at_last_it_is_given_up(plane):
    point(plane, "http://127.0.0.1:9")
    await labelled(plane)
    found = (await reconcile(plane))["missed"]
    asked, given_up = found, 0
    for _ in range(12):
        assert (await reconcile(plane))["asked_again"] == 0, "too early"
        plane.github.clock.forward(70 * MINUTE)
        answer = await reconcile(plane)
        asked += answer["asked_again"]
        given_up += answer["given_up"]
    assert (asked, given_up) == (found * MOST_ATTEMPTS, found)


async def test_what_arrived_although_its_answer_was_lost_is_not_asked_for(plane):
    point(plane, "http://127.0.0.1:9")
    await labelled(plane)
    (sent, *_) = [each async for each in (await plane.services.forge()).hook().sent()]
    await plane.deliver(plane.issue(1), delivery=sent.guid)
    answer = await reconcile(plane)
    assert (answer["arrived"], answer["asked_again"]) == (1, answer["missed"] - 1)


async def test_what_github_has_forgotten_is_not_waited_for(plane):
    point(plane, "http://127.0.0.1:9")
    await labelled(plane)
    plane.github.clock.forward(4 * DAY)
    assert (await reconcile(plane))["missed"] == 0


class TestLog:
    @pytest.fixture
    async def log(self, plane):
        headers = await plane.key()

        async def read(**query):
            answer = await plane.http.get("/api/deliveries", params=query, headers=headers)
            assert answer.status_code == 200, answer.text
            return answer.json()

        return read

    async def test_each_delivery_once_with_its_outcome_and_reason(self, plane, log):
        plane.github.clock.freeze()
        for body, event in (
            (plane.issue(1), "issues"),
            (plane.issue(1, note="again"), "issues"),
            (plane.issue(2, label={"id": 2, "name": "bug", "color": "f"}), "issues"),
            (plane.issue(3) | {"sender": {"login": "x[bot]", "id": 8, "type": "Bot"}}, "issues"),
            ({"action": "created", "repository": {"id": 1}}, "star"),
        ):
            await plane.deliver(body, event=event)
            plane.github.clock.forward(1000)
        shown = (await log())["deliveries"]
        assert [each["outcome"] for each in shown] == ["noted", "refused", "ignored", "ignored", "accepted"]
        assert all(each["reason"] for each in shown[:-1])
        first = shown[-1]
        run = (await runs(plane))[0]
        assert (first["event"], first["action"], first["repository"], first["subject"], first["sender"]) == (
            "issues",
            "labeled",
            "acme/shop",
            "issue #1",
            "alice",
        )
        assert first["run_id"] == run.id
        assert [each["event"] for each in (await log(outcome="noted"))["deliveries"]] == ["star"]

    async def test_page_by_page(self, plane, log):
        for number in range(5):
            await plane.deliver(plane.issue(number + 1))
        page = await log(limit=2)
        seen = [each["id"] for each in page["deliveries"]]
        while page["next"]:
            page = await log(limit=2, after=page["next"])
            seen += [each["id"] for each in page["deliveries"]]
        assert len(seen) == len(set(seen)) == 5

    async def test_an_unknown_outcome_is_named(self, plane):
        answer = await plane.http.get("/api/deliveries?outcome=lost", headers=await plane.key())
        assert answer.json()["error"]["code"] == "invalid_outcome"
