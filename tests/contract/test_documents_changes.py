"""What ``infra/core/store.py`` promises of the change feed: every created or replaced document, none skipped."""

import asyncio

import pytest

from infra.core.errors import Invalid
from infra.core.store import Create, Delete, Put, Replace

SECONDS = 20.0


async def take(feed, count):
    """The next changes; a feed that keeps them back fails the test instead of hanging it."""
    async with asyncio.timeout(SECONDS):
        return [await anext(feed) for _ in range(count)]


async def newest(feed, wanted):
    """Follows until each path was reported at its wanted revision; returns the paths in that order."""
    order, left = [], dict(wanted)
    async with asyncio.timeout(SECONDS):
        while left:
            change = await anext(feed)
            if left.get(change.document.path) == change.document.revision:
                order.append(change.document.path)
                del left[change.document.path]
    return order


async def test_a_feed_from_now_reports_what_is_written_from_now_on(store):
    await store.commit(Create("things/old", {}))
    feed = store.changes("things")
    await store.commit(Create("things/a", {"n": 1}))
    (first,) = await take(feed, 1)
    (revision,) = await store.commit(Put("things/old", {"n": 2}))
    (second,) = await take(feed, 1)
    assert (first.document.path, first.document.data) == ("things/a", {"n": 1})
    assert (second.document.path, second.document.data, second.document.revision) == ("things/old", {"n": 2}, revision)


async def test_changes_come_in_commit_order_and_only_of_this_collection(store):
    feed = store.changes("runs/a/chunks")
    (revision,) = await store.commit(Create("runs/a/chunks/2", {}))
    await store.commit(Create("runs/a", {}), Create("runs/b/chunks/1", {}), Create("chunks/1", {}))
    await store.commit(Create("runs/a/chunks/1", {}))
    await store.commit(Replace("runs/a/chunks/2", {"n": 1}, revision))
    await store.commit(Create("runs/a/chunks/3", {}), Create("runs/a/chunks/0", {}))
    paths = [change.document.path for change in await take(feed, 4)]
    if paths[0] == "runs/a/chunks/2":  # told before it was replaced, so it comes again
        paths = paths[1:] + [change.document.path for change in await take(feed, 1)]
    names = [path.removeprefix("runs/a/chunks/") for path in paths]
    assert (names[:2], set(names[2:])) == (["1", "2"], {"0", "3"})


async def test_deletions_are_not_reported(store):
    feed = store.changes("things")
    await store.commit(Create("things/a", {}))
    await take(feed, 1)
    await store.commit(Delete("things/a"))
    await store.commit(Create("things/b", {}))
    assert [change.document.path for change in await take(feed, 1)] == ["things/b"]


async def test_a_feed_resumes_after_its_cursor_in_another_process(backend, store):
    feed = store.changes("things")
    await store.commit(Create("things/a", {}))
    (seen,) = await take(feed, 1)
    await feed.aclose()
    revisions = {}
    for name in "bcd":
        (revisions[f"things/{name}"],) = await store.commit(Create(f"things/{name}", {}))
    resumed = backend.open().changes("things", seen.cursor)
    assert await newest(resumed, revisions) == list(revisions)
    (revision,) = await store.commit(Put("things/a", {"n": 2}))
    assert await newest(resumed, {"things/a": revision})


async def test_every_cursor_of_many_resumes_without_a_gap(backend, store):
    feed = store.changes("things")
    revisions = {}
    for start in range(0, 250, 50):  # the documents of one commit share Firestore's timestamp
        names = [f"things/{number:03}" for number in range(start, start + 50)]
        revisions |= zip(names, await store.commit(*(Create(name, {}) for name in names)), strict=True)
    told = await take(feed, 250)
    for index in (0, 49, 50, 99, 120, 248):
        left = {change.document.path: change.document.revision for change in told[index + 1 :]}
        resumed = backend.open().changes("things", told[index].cursor)
        await newest(resumed, left)


async def test_writers_at_once_from_two_processes_lose_no_change(backend, store):
    other = backend.open()
    feeds = [store.changes("things"), store.changes("things"), other.changes("things")]
    final = {}

    async def write(number):
        writer = (store, other)[number % 2]
        for step in range(5):
            (final[f"things/{number}"],) = await writer.commit(Put(f"things/{number}", {"step": step}))

    async def follow(feed):
        """Until each document was seen in its last state; steps may be merged, never go back."""
        steps = {}
        async with asyncio.timeout(SECONDS):
            while len(steps) < 12 or set(steps.values()) != {4}:
                change = await anext(feed)
                assert change.document.data["step"] > steps.get(change.document.path, -1)
                steps[change.document.path] = change.document.data["step"]

    await asyncio.gather(*map(write, range(12)), *map(follow, feeds))


async def test_a_change_between_the_call_and_the_first_step_is_not_lost(backend, store):
    feed = backend.open().changes("things")
    revisions = await store.commit(Create("things/a", {}), Create("things/b", {}))
    await newest(feed, {"things/a": revisions[0], "things/b": revisions[1]})


async def test_followers_may_come_and_go(store):
    for number in range(3):
        feed = store.changes("things")
        await store.commit(Create(f"things/{number}", {}))
        assert [change.document.id for change in await take(feed, 1)] == [str(number)]
        await feed.aclose()


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "9" * 40, "١"])
async def test_a_cursor_of_no_feed_is_refused(store, cursor):
    with pytest.raises(Invalid):
        store.changes("things", cursor)


async def test_closing_the_store_ends_its_feeds(store):
    feed = store.changes("things")
    await store.commit(Create("things/a", {}))
    await take(feed, 1)
    waiting = asyncio.ensure_future(anext(feed))
    await asyncio.sleep(0)
    await store.close()
    async with asyncio.timeout(SECONDS):
        with pytest.raises(StopAsyncIteration):
            await waiting
