"""What only the SQLite store promises: one transaction for many, several processes, damaged and foreign files, indexes."""

import asyncio
import multiprocessing
import resource
import sqlite3
import stat

import pytest

from infra.core.clock import Instant
from infra.core.errors import AlreadyExists, Conflict, Invalid, Unavailable
from infra.core.store import Create, Put, Query, Transaction, Where, transact
from infra.local import documents as module
from infra.local.documents import SqliteDocuments
from infra.local.documents_file import open_file
from infra.local.documents_sql import select

SECONDS = 30.0


def clock():
    return Instant(1_700_000_000_000)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "state.db"


@pytest.fixture
async def store(path):
    made = SqliteDocuments.open(path, clock)
    yield made
    await made.close()


async def test_only_its_owner_can_read_the_file(path, store):
    await store.commit(Create("things/a", {}))
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_commits_of_one_turn_share_one_transaction(store):
    statements = []
    store._connection.set_trace_callback(statements.append)
    await asyncio.gather(*(store.commit(Create(f"things/{n}", {})) for n in range(50)))
    assert statements.count("COMMIT") == 1
    assert sum(text.startswith("INSERT") for text in statements) == 50


async def test_what_was_acknowledged_is_in_the_file(path, store):
    await store.commit(Create("things/a", {"n": 1}))
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT data FROM documents").fetchall() == [('{"n":1}',)]
    assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


async def test_a_caller_that_gave_up_does_not_hold_up_the_others(store):
    abandoned = asyncio.ensure_future(store.commit(Create("things/a", {})))
    kept = asyncio.ensure_future(store.commit(Create("things/b", {})))
    await asyncio.sleep(0)
    abandoned.cancel()
    assert await kept
    assert await store.get("things/b")


async def test_a_failure_in_the_middle_undoes_the_group_and_is_told_to_all_in_it(path):
    moments = [clock(), RuntimeError("no time"), clock()]

    def failing_clock():
        moment = moments.pop(0)
        if isinstance(moment, Exception):
            raise moment
        return moment

    store = SqliteDocuments.open(path, failing_clock)
    commits = (store.commit(Create("things/a", {})), store.commit(Create("things/b", {})))
    assert [type(item) for item in await asyncio.gather(*commits, return_exceptions=True)] == [RuntimeError] * 2
    assert await store.get("things/a") is None
    await store.commit(Create("things/a", {}))
    await store.close()


async def test_closing_finishes_what_was_asked_for_and_refuses_what_comes_later(path):
    store = SqliteDocuments.open(path, clock)
    last = asyncio.ensure_future(store.commit(Create("things/a", {})))
    await asyncio.sleep(0)
    await store.close()
    await store.close()
    assert await last
    for late in (store.commit(Create("things/b", {})), store.get("things/a"), store.query("things", Query())):
        with pytest.raises(Unavailable):
            await late
    assert await SqliteDocuments.open(path, clock).get("things/a")


# feeds


async def test_a_writer_in_this_process_wakes_feeds_without_any_poll(store, monkeypatch):
    monkeypatch.setattr(module, "_POLL_SECONDS", 3600)
    feed = store.changes("things")
    waiting = asyncio.ensure_future(anext(feed))
    await asyncio.sleep(0)
    await store.commit(Create("things/a", {}))
    async with asyncio.timeout(SECONDS):
        assert (await waiting).document.path == "things/a"


async def test_a_feed_sees_what_another_process_writes(path, store):
    feed = store.changes("things")
    waiting = asyncio.ensure_future(anext(feed))
    await asyncio.sleep(0)
    process = multiprocessing.get_context("spawn").Process(target=_create, args=(path, "things/other"))
    process.start()
    async with asyncio.timeout(SECONDS):
        assert (await waiting).document.path == "things/other"
    await asyncio.to_thread(process.join)
    assert process.exitcode == 0


def _create(path, name):
    async def create():
        store = SqliteDocuments.open(path, clock)
        await store.commit(Create(name, {}))
        await store.close()

    asyncio.run(create())


# several processes


async def test_processes_at_once_neither_lose_increments_nor_share_a_claim(path):
    context = multiprocessing.get_context("spawn")
    barrier, wins = context.Barrier(3), context.Queue()
    processes = [context.Process(target=_compete, args=(path, number, barrier, wins)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        await asyncio.to_thread(process.join, SECONDS)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert sum(wins.get() for _ in processes) == 20
    store = SqliteDocuments.open(path, clock)
    assert (await store.get("things/counter")).data == {"n": 3 * 20}
    revisions = [int(item.revision) for item in (await store.query("claims", Query())).documents]
    assert len(set(revisions)) == 20
    await store.close()


def _compete(path, number, barrier, wins):
    async def increment(transaction: Transaction) -> None:
        document = await transaction.get("things/counter")
        if document is None:
            transaction.create("things/counter", {"n": 1})
        else:
            transaction.replace("things/counter", {"n": document.data["n"] + 1})

    async def claim(store, name):
        try:
            await store.commit(Create(f"claims/{name}", {"owner": number}))
        except AlreadyExists:
            return 0
        return 1

    async def compete():
        barrier.wait(SECONDS)  # the file does not exist yet: all three create it
        store = SqliteDocuments.open(path, clock)
        won = 0
        for step in range(20):
            won += await claim(store, step)
            await transact(store, increment, attempts=1000)
        await store.close()
        wins.put(won)

    asyncio.run(compete())


def test_processes_that_create_a_file_at_once_all_open_it(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    paths = [tmp_path / str(attempt) / "state.db" for attempt in range(20)]
    processes = [context.Process(target=_open_and_close, args=(paths, barrier)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(SECONDS)
    assert [process.exitcode for process in processes] == [0, 0, 0]


def _open_and_close(paths, barrier):
    for path in paths:
        barrier.wait(SECONDS)
        open_file(path, {"runs": ("state",)}).close()


async def test_a_writer_waits_while_another_process_holds_the_file(path, store):
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    commit = asyncio.ensure_future(store.commit(Create("things/a", {})))
    late = asyncio.ensure_future(_later(store.commit(Create("things/b", {}))))
    for _ in range(10):  # the loop goes on meanwhile
        await asyncio.sleep(0.01)
        assert await store.get("things/a") is None
    other.execute("COMMIT")
    other.close()
    assert await commit
    assert await late


async def _later(awaitable):
    await asyncio.sleep(0.02)
    return await awaitable


async def test_a_file_that_stays_locked_is_unavailable(path, store, monkeypatch):
    monkeypatch.setattr(module, "_BUSY_SECONDS", 0.05)
    await store.commit(Create("things/a", {}, expire_at=1))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for action in (store.commit(Create("things/b", {})), store.purge(5)):
        with pytest.raises(Unavailable) as refused:
            await action
        assert refused.value.code == "store_busy"
    other.execute("ROLLBACK")
    other.close()
    assert await store.purge(5) == 1


# files that cannot be used


@pytest.mark.parametrize("content", [b"hello " * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_refused_with_what_to_do(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(Unavailable) as refused:
        SqliteDocuments.open(path, clock)
    assert refused.value.code == "store_corrupt"
    assert str(path) in refused.value.message
    assert "restore a backup" in refused.value.hint
    assert path.read_bytes() == content


async def test_damage_found_later_is_told_the_same_way(path):
    store = SqliteDocuments.open(path, clock)
    await store.commit(*(Create(f"things/{n}", {"t": "x" * 2000}) for n in range(200)))
    await store.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(Unavailable) as refused:
        await SqliteDocuments.open(path, clock).get("things/100")
    assert refused.value.code == "store_corrupt"


def test_a_file_of_another_program_is_refused_and_left_alone(path):
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(Unavailable) as refused:
        SqliteDocuments.open(path, clock)
    assert refused.value.code == "store_corrupt"
    assert path.read_bytes() == before


async def test_a_file_of_a_newer_version_is_refused_and_left_alone(path, store):
    await store.commit(Create("things/a", {}))
    store._connection.execute("PRAGMA user_version = 2")
    with pytest.raises(Unavailable) as refused:
        SqliteDocuments.open(path, clock)
    assert refused.value.code == "store_too_new"
    assert "newer program" in refused.value.hint


def test_a_folder_in_place_of_the_file_is_unavailable(tmp_path):
    with pytest.raises(Unavailable):
        SqliteDocuments.open(tmp_path, clock)


async def test_a_full_disk_refuses_the_commit_and_nothing_else(store):
    await store.commit(Create("things/kept", {"n": 1}))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (200_000, hard)
    )  # a file that may not grow: write(2) fails, as on a full disk
    try:
        outcomes = await asyncio.gather(
            *(store.commit(Create(f"things/{n}", {"t": "x" * 100_000})) for n in range(5)), return_exceptions=True
        )
        assert {type(item) for item in outcomes} == {Unavailable}
        assert (await store.get("things/kept")).data == {"n": 1}
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [item.id for item in (await store.query("things", Query())).documents] == ["kept"]
    await store.commit(Create("things/0", {"t": "x" * 100_000}))


async def test_a_store_without_room_says_so(store):
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages + 10}")
    with pytest.raises(Unavailable) as refused:
        await store.commit(Create("things/a", {"t": "x" * 200_000}))
    assert refused.value.code == "store_full"


# speed that must not depend on history

INDEXES = {"runs": ("wake_at", "created_at", ("state", "created_at"), ("state", "wake_at")), "chunks": ("last",)}


@pytest.mark.parametrize(
    ("collection", "query"),
    [
        ("runs", Query(where=(Where("wake_at", "<=", 5),), order_by="wake_at")),
        ("runs", Query(order_by="created_at", descending=True)),
        ("runs", Query(where=(Where("state", "==", "queued"),), order_by="created_at", descending=True)),
        ("runs", Query(where=(Where("state", "==", "queued"), Where("wake_at", "<=", 5)), order_by="wake_at")),
        ("runs/r/chunks", Query(order_by="last", descending=True, limit=1)),
        ("runs/r/chunks", Query(where=(Where("last", ">", 7),), order_by="last")),
        ("runs", Query()),
    ],
)
@pytest.mark.parametrize("later_page", [False, True])
async def test_declared_indexes_answer_filter_order_and_cursor(path, collection, query, later_page):
    store = SqliteDocuments.open(path, clock, indexes=INDEXES)
    if later_page:
        data = {"wake_at": 4, "created_at": 4, "state": "queued", "last": 8}
        await store.commit(*(Create(f"{collection}/{n}", data) for n in range(3)))
        query = Query(query.where, query.order_by, query.descending, 1, None)
        query = Query(query.where, query.order_by, query.descending, 1, (await store.query(collection, query)).cursor)
        assert len((await store.query(collection, query)).documents) == 1
    plan = _plan(store, *select(collection, query))
    assert "SCAN" not in plan
    assert "TEMP B-TREE" not in plan
    await store.close()


def _plan(store, statement, arguments):
    rows = store._connection.execute(f"EXPLAIN QUERY PLAN {statement}", arguments).fetchall()
    return " / ".join(row[3] for row in rows)


async def test_the_feed_and_the_purge_use_their_indexes(store):
    plan = _plan(store, module._FEED, ("things", 5, 10)) + _plan(store, module._PURGE, (5, 10))
    assert "documents_feed" in plan
    assert "documents_expiry" in plan
    assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize("indexes", [{"a'b": ("n",)}, {"runs": ("a'b",)}, {"runs/x": ("n",)}, {"runs": ("",)}])
def test_an_index_that_is_not_one_is_refused(path, indexes):
    with pytest.raises(Invalid):
        SqliteDocuments.open(path, clock, indexes=indexes)


async def test_indexes_may_be_declared_for_a_file_that_has_content(path, store):
    await store.commit(*(Create(f"runs/{n}", {"n": n % 3}) for n in range(9)))
    reopened = SqliteDocuments.open(path, clock, indexes={"runs": ("n",)})
    page = await reopened.query("runs", Query(where=(Where("n", "==", 1),), order_by="n"))
    assert [item.id for item in page.documents] == ["1", "4", "7"]
    await reopened.close()


async def test_purging_goes_on_in_batches(store):
    for start in range(0, 1200, 400):
        await store.commit(*(Create(f"things/{start + n}", {}, expire_at=start + n) for n in range(400)))
    assert await store.purge(1_000) == 1_001
    assert await store.purge(1_000) == 0


async def test_a_conflict_names_the_document(store):
    await store.commit(Put("things/a", {}))
    with pytest.raises(Conflict, match="things/a exists already"):
        await store.commit(Create("things/a", {}))
