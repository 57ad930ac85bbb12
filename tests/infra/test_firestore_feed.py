"""The poll behind Firestore's change feed, over a collection that shows its documents as late and as equal as it likes."""

import asyncio

import pytest

from infra.core.errors import Forbidden, Unavailable
from infra.core.store import Document
from infra.gcp.firestore_feed import OVERLAP, PAGE, Entry, Feed, parse_cursor

SECONDS = 20.0
START = 1_700_000_000_000_000


class Collection:
    """What a query would return; ``faults`` are raised first, one each time."""

    def __init__(self):
        self.entries = {}
        self.faults = []
        self.reads = 0
        self.now = START
        self.read_begins = asyncio.Event()

    def write(self, name, changed_at, committed_at=None, revision="1"):
        document = Document(f"things/{name}", {}, revision)
        self.entries[name] = Entry(document, START + changed_at, START + (committed_at or changed_at))

    async def read(self, low, after):
        self.reads += 1
        self.read_begins.set()
        await asyncio.sleep(0)
        if self.faults:
            raise self.faults.pop(0)
        ordered = sorted(self.entries.values(), key=place)
        return [item for item in ordered if item.changed_at >= low and (after is None or place(item) > place(after))][
            :PAGE
        ]


def place(entry):
    return entry.changed_at, entry.document.id


@pytest.fixture
def collection():
    return Collection()


@pytest.fixture
async def feed(collection):
    made = Feed(collection.read, lambda: collection.now // 1_000, 0.001)
    yield made
    made.close()


async def take(follower, count):
    async with asyncio.timeout(SECONDS):
        return [(await anext(follower)).document.id for _ in range(count)]


async def test_more_documents_than_a_page_with_one_timestamp_are_all_told(collection, feed):
    names = [f"{number:04}" for number in range(3 * PAGE)]
    for name in names:
        collection.write(name, 1)
    assert await take(feed.follow(START, None), len(names)) == names


async def test_a_commit_that_appears_late_with_an_earlier_time_is_told(collection, feed):
    follower = feed.follow(START, None)
    collection.write("first", 100)
    assert await take(follower, 1) == ["first"]
    collection.now += OVERLAP // 2
    for _ in range(3):  # polls that find nothing new leave the window where it was
        collection.read_begins.clear()
        await collection.read_begins.wait()
    collection.write("equal", 100)
    collection.write("late", 50, committed_at=120)
    assert set(await take(follower, 2)) == {"late", "equal"}


async def test_documents_of_one_poll_come_in_commit_order(collection, feed):
    follower = feed.follow(START, None)
    collection.write("zero", 1)
    await take(follower, 1)
    collection.write("b", 10, committed_at=31)
    collection.write("c", 20, committed_at=30)
    collection.write("a", 30, committed_at=32)
    assert await take(follower, 3) == ["c", "b", "a"]


async def test_a_follower_that_fell_far_behind_misses_nothing(collection, feed):
    slow, quick = feed.follow(START, None), feed.follow(START, None)
    collection.write("start", 1)
    assert await take(slow, 1) == await take(quick, 1) == ["start"]
    names = {f"{number:04}" for number in range(5 * PAGE)}
    for number, name in enumerate(sorted(names)):
        collection.write(name, 2 + number)
    assert set(await take(quick, len(names))) == names
    told = set()
    while not told >= names:
        told |= set(await take(slow, 1))


async def test_many_followers_share_one_poll(collection, feed):
    followers = [feed.follow(START, None) for _ in range(50)]
    collection.write("a", 1)
    await asyncio.gather(*(take(follower, 1) for follower in followers))
    collection.write("b", 2)
    before = collection.reads
    await asyncio.gather(*(take(follower, 1) for follower in followers))
    assert collection.reads - before < 10


async def test_an_outage_is_waited_for(collection, feed):
    follower = feed.follow(START, None)
    collection.write("a", 1)
    await take(follower, 1)
    collection.faults += [Unavailable("down"), Unavailable("still down")]
    collection.write("b", 2)
    assert await take(follower, 1) == ["b"]


async def test_a_refusal_reaches_whoever_follows_and_later_followers_try_again(collection, feed):
    follower = feed.follow(START, None)
    collection.write("a", 1)
    await take(follower, 1)
    collection.faults += [Forbidden("no role")]
    with pytest.raises(Forbidden):
        await take(follower, 1)
    assert await take(feed.follow(START, None), 1) == ["a"]


async def test_a_resumed_feed_looks_back_before_its_cursor(collection, feed):
    collection.write("told", 100, committed_at=110)
    cursor = parse_cursor(collection.entries["told"].change.cursor)
    collection.write("late", 50, committed_at=120)
    collection.write("ancient", -2 * OVERLAP)
    collection.now += 6 * OVERLAP  # too long ago for the poll of what is new
    assert set(await take(feed.follow(START + 10**9, cursor), 2)) == {"told", "late"}


async def test_nobody_polls_when_nobody_follows(collection, feed):
    follower = feed.follow(START, None)
    collection.write("a", 1)
    await take(follower, 1)
    await follower.aclose()
    before = collection.reads
    await asyncio.sleep(0.02)
    assert collection.reads == before
