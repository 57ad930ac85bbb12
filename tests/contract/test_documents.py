"""What ``infra/core/store.py`` promises of every store: reading, atomic commits, limits, races."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.core.errors import AlreadyExists, Conflict, Invalid, TooLarge
from infra.core.store import MAX_DOCUMENT_BYTES, Create, Delete, Put, Query, Replace, Transaction, Where, transact

EXAMPLES = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


async def test_what_was_created_is_read_back_with_its_revision(store):
    (revision,) = await store.commit(Create("things/a", {"n": 1}))
    document = await store.get("things/a")
    assert (document.path, document.id, document.data, document.revision) == ("things/a", "a", {"n": 1}, revision)


async def test_absent_is_none_and_nothing_commits_as_nothing(store):
    assert await store.get("things/a") is None
    assert await store.commit() == ()


async def test_every_store_on_the_same_data_sees_an_acknowledged_commit(backend, store):
    other = backend.open()
    (first,) = await store.commit(Create("things/a", {"n": 1}))
    assert (await other.get("things/a")).data == {"n": 1}
    await other.commit(Replace("things/a", {"n": 2}, first))
    assert (await store.get("things/a")).data == {"n": 2}


async def test_each_write_gives_a_new_revision_even_when_nothing_changes(store):
    (first,) = await store.commit(Create("things/a", {"n": 1}))
    (second,) = await store.commit(Replace("things/a", {"n": 1}, first))
    (third,) = await store.commit(Put("things/a", {"n": 1}))
    assert len({first, second, third}) == 3
    with pytest.raises(Conflict):
        await store.commit(Replace("things/a", {"n": 2}, first))


async def test_a_revision_is_not_used_again_after_its_document_is_gone(store):
    (first,) = await store.commit(Create("things/a", {"n": 1}))
    await store.commit(Delete("things/a"))
    (second,) = await store.commit(Create("things/a", {"n": 1}))
    assert first != second


async def test_create_refuses_what_is_there(store):
    await store.commit(Create("things/a", {"n": 1}))
    with pytest.raises(AlreadyExists):
        await store.commit(Create("things/a", {"n": 2}))
    assert (await store.get("things/a")).data == {"n": 1}


@pytest.mark.parametrize("revision", ["", "0", "7", "x", "-1", "1.5", "9" * 30, "1763683852487259"])
async def test_replace_and_delete_refuse_any_other_revision(store, revision):
    await store.commit(Create("things/a", {"n": 1}))
    with pytest.raises(Conflict) as replaced:
        await store.commit(Replace("things/a", {"n": 2}, revision))
    with pytest.raises(Conflict):
        await store.commit(Delete("things/a", revision))
    assert not isinstance(replaced.value, AlreadyExists)
    assert (await store.get("things/a")).data == {"n": 1}


async def test_replace_and_conditional_delete_of_a_document_that_is_gone_conflict(store):
    (revision,) = await store.commit(Create("things/a", {"n": 1}))
    await store.commit(Delete("things/a", revision))
    with pytest.raises(Conflict):
        await store.commit(Replace("things/a", {"n": 2}, revision))
    with pytest.raises(Conflict):
        await store.commit(Delete("things/a", revision))
    assert await store.commit(Delete("things/a")) == ("",)


async def test_replace_replaces_everything(store):
    (revision,) = await store.commit(Create("things/a", {"old": 1, "map": {"x": 1, "y": 2}}))
    await store.commit(Replace("things/a", {"map": {"z": 3}}, revision))
    assert (await store.get("things/a")).data == {"map": {"z": 3}}
    await store.commit(Put("things/a", {}))
    assert (await store.get("things/a")).data == {}


async def test_a_commit_is_all_or_nothing(store):
    (revision,) = await store.commit(Create("things/taken", {"n": 1}))
    with pytest.raises(AlreadyExists):
        await store.commit(
            Put("things/put", {}), Create("things/new", {}), Delete("things/taken2"), Create("things/taken", {})
        )
    with pytest.raises(Conflict):
        await store.commit(Create("things/new", {}), Replace("things/taken", {}, "0"), Put("things/put", {}))
    assert [await store.get(f"things/{name}") for name in ("put", "new")] == [None, None]
    revisions = await store.commit(
        Create("things/new", {"n": 2}), Replace("things/taken", {"n": 3}, revision), Delete("things/none")
    )
    assert (await store.get("things/new")).revision == revisions[0]
    assert (await store.get("things/taken")).revision == revisions[1]
    assert revisions[2] == ""


async def test_a_refused_commit_does_not_touch_those_beside_it(store):
    await store.commit(Create("things/taken", {}))
    commits = [store.commit(Create(f"things/{n}", {}), Create(f"other/{n}", {})) for n in range(20)]
    commits[10:10] = [store.commit(Create("things/half", {}), Create("things/taken", {}))]
    outcomes = await asyncio.gather(*commits, return_exceptions=True)
    assert [type(item) for item in outcomes].count(AlreadyExists) == 1
    assert sum(isinstance(item, tuple) for item in outcomes) == 20
    assert await store.get("things/half") is None


async def test_one_commit_writes_a_document_once(store):
    with pytest.raises(Invalid) as refused:
        await store.commit(Create("things/a", {}), Put("things/a", {}))
    assert refused.value.code == "duplicate_path"


# races


async def test_of_64_claimers_exactly_one_wins(backend, store):
    stores = [store, *(backend.open() for _ in range(3))]
    for round_ in range(3):
        claims = [stores[n % 4].commit(Create(f"claims/{round_}", {"owner": n})) for n in range(64)]
        outcomes = await asyncio.gather(*claims, return_exceptions=True)
        assert [type(item) for item in outcomes].count(AlreadyExists) == 63
        winner = next(n for n, item in enumerate(outcomes) if isinstance(item, tuple))
        assert (await store.get(f"claims/{round_}")).data == {"owner": winner}


async def test_of_64_replacements_of_one_revision_exactly_one_wins(backend, store):
    other = backend.open()
    (revision,) = await store.commit(Create("things/a", {"owner": None}))
    both = (store, other)
    replaced = [both[n % 2].commit(Replace("things/a", {"owner": n}, revision)) for n in range(64)]
    outcomes = await asyncio.gather(*replaced, return_exceptions=True)
    assert [type(item) for item in outcomes].count(Conflict) == 63
    winner = next(n for n, item in enumerate(outcomes) if isinstance(item, tuple))
    assert (await store.get("things/a")).data == {"owner": winner}


async def test_increments_of_16_concurrent_writers_are_not_lost(backend, store):
    await store.commit(Create("things/counter", {"n": 0}))
    stores = (store, backend.open())

    async def increment(transaction: Transaction) -> None:
        document = await transaction.get("things/counter")
        transaction.replace("things/counter", {"n": document.data["n"] + 1})

    await asyncio.gather(*(transact(stores[n % 2], increment, attempts=100) for n in range(16)))
    assert (await store.get("things/counter")).data == {"n": 16}


async def test_a_transaction_that_always_loses_ends_in_a_conflict(store):
    await store.commit(Create("things/counter", {"n": 0}))

    async def overtaken(transaction: Transaction) -> None:
        document = await transaction.get("things/counter")
        await store.commit(Put("things/counter", {"n": document.data["n"] + 1}))
        transaction.replace("things/counter", {"n": -1})

    with pytest.raises(Conflict) as refused:
        await transact(store, overtaken, attempts=3)
    assert refused.value.code == "contention"
    assert (await store.get("things/counter")).data == {"n": 3}


# paths


@pytest.mark.parametrize(
    "path",
    ["", "a", "a/b/c", "/a", "a/", "a//b/c", "a/..", "./a", "a/__x__", "a/é", "a/b c", "a/" + "x" * 401, "a/b\n"],
)
async def test_a_path_that_is_not_one_is_refused_everywhere(store, path):
    for action in (store.get(path), store.commit(Create(path, {})), store.commit(Delete(path))):
        with pytest.raises(Invalid):
            await action


@pytest.mark.parametrize("path", ["a/b", "a/b/c/d", "a.b/...", "A-_@+=:.9/" + "x" * 400, "a/__", "a/0", "a/_"])
async def test_a_path_within_the_grammar_is_kept(store, path):
    await store.commit(Create(path, {"here": True}))
    assert (await store.get(path)).data == {"here": True}
    page = await store.query(path.rpartition("/")[0], Query())
    assert [document.path for document in page.documents] == [path]


async def test_collections_hold_only_what_is_directly_in_them(store):
    await store.commit(Create("runs/a", {}), Create("runs/a/chunks/1", {}), Create("runs/b/chunks/2", {}))
    paths = [[item.path for item in (await store.query(name, Query())).documents] for name in ("runs", "runs/a/chunks")]
    assert paths == [["runs/a"], ["runs/a/chunks/1"]]
    for collection in ("runs/a", "", "runs/"):
        with pytest.raises(Invalid):
            await store.query(collection, Query())
        with pytest.raises(Invalid):
            store.changes(collection)


# content

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
KEYS = st.text(max_size=8) | st.sampled_from(["", "a.b", "__x__", "$json", "$", "`", "é", "x" * 400])
JSON = st.recursive(SCALARS, lambda part: st.lists(part, max_size=4) | st.dictionaries(KEYS, part, max_size=4))


@EXAMPLES
@given(data=st.dictionaries(st.text(max_size=8), JSON, max_size=4))
async def test_any_json_comes_back_as_it_was(backend, data):
    if not backend.opened:
        backend.open()
    path = f"{backend.collection()}/a"
    await backend.opened[0].commit(Create(path, data))
    assert _typed((await backend.opened[0].get(path)).data) == _typed(data)


def _typed(value):
    """1, 1.0 and True are equal in Python and three values in JSON."""
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    return type(value).__name__, repr(value)


@pytest.mark.parametrize(
    "value",
    [
        [[1], [[2, []]], {"a": [[3]]}],
        {"": 1, "a.b": {"__x__": [2]}, "$json": "[1]"},
        {"$json": [1]},
        {"$": {"$$": {"$json": "no"}}},
        {"k" * 2000: {"deep": [1]}},
        "nul \0 and 😀",
        -(2**63),
    ],
)
async def test_awkward_json_comes_back_as_it_was(store, value):
    await store.commit(Create("things/a", {"value": value}))
    assert (await store.get("things/a")).data == {"value": value}


async def test_deep_json_comes_back_up_to_the_limit(store):
    def nested(levels):
        value = "bottom"
        for level in range(levels):
            value = [value] if level % 3 == 0 else {"k": value}
        return value

    await store.commit(Create("things/a", {"value": nested(99)}))
    assert (await store.get("things/a")).data == {"value": nested(99)}
    with pytest.raises(Invalid):
        await store.commit(Create("things/b", {"value": nested(100)}))


async def test_tuples_come_back_as_lists(store):
    await store.commit(Create("things/a", {"value": (1, (2, 3))}))
    assert (await store.get("things/a")).data == {"value": [1, [2, 3]]}


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 2**63, -(2**63) - 1, b"x", {1: 2}, {None: 1}, {1, 2}, "\ud800", object(), 1j]
)
async def test_what_is_not_json_is_refused(store, value):
    for wrapped in (value, [[value]], {"a": [value]}):
        with pytest.raises(Invalid):
            await store.commit(Create("things/a", {"value": wrapped}))
    assert await store.get("things/a") is None


async def test_the_size_limit_is_the_same_byte_everywhere(store):
    overhead = 32 + len("text") + 2 + 1 + len("things/a") + 16
    largest = "x" * (MAX_DOCUMENT_BYTES - overhead)
    await store.commit(Create("things/a", {"text": largest}))
    assert len((await store.get("things/a")).data["text"]) == len(largest)
    for text in (largest + "x", "é" * (len(largest) // 2 + 1)):
        with pytest.raises(TooLarge):
            await store.commit(Put("things/a", {"text": text}))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param({"n": [1] * 124_000}, id="numbers", marks=pytest.mark.full),
        pytest.param({"n": [[1]] * 20_000}, id="packed", marks=pytest.mark.full),
        pytest.param({"n": [{}] * 31_000}, id="maps", marks=pytest.mark.full),
        pytest.param({"n": [["\0" * 10]] * 9_000}, id="escapes"),
        pytest.param({"t": "é" * 499_000}, id="unicode"),
    ],
)
async def test_whatever_is_within_the_measure_fits_in_every_store(store, data):
    await store.commit(Create("things/a", data))
    assert (await store.get("things/a")).data == data


async def test_a_commit_has_limits_of_its_own(store):
    with pytest.raises(TooLarge):
        await store.commit(*(Create(f"things/{n}", {}) for n in range(501)))
    with pytest.raises(TooLarge):
        await store.commit(*(Create(f"things/{n}", {"t": "x" * 950_000}) for n in range(10)))
    assert len(await store.commit(*(Create(f"things/{n}", {}) for n in range(500)))) == 500


# expiry


async def test_expired_documents_are_there_until_they_are_purged(backend, store):
    await store.commit(
        Create("things/past", {"n": 1}, expire_at=1_000),
        Create("things/exact", {"n": 1}, expire_at=2_000),
        Create("things/future", {"n": 1}, expire_at=2_001),
        Create("things/never", {"n": 1}),
    )
    page = await store.query("things", Query(where=(Where("n", "==", 1),)))
    assert [item.id for item in page.documents] == ["exact", "future", "never", "past"]
    removed = await store.purge(2_000)
    assert removed == (0 if backend.name == "firestore" else 2)
    left = [item.id for item in (await store.query("things", Query())).documents]
    assert left == (["exact", "future", "never", "past"] if backend.name == "firestore" else ["future", "never"])


async def test_replace_keeps_the_expiry_and_put_sets_it_anew(backend, store):
    kept, _, _ = await store.commit(*(Create(f"things/{name}", {}, expire_at=1_000) for name in "abc"))
    await store.commit(Replace("things/a", {"n": 2}, kept), Put("things/b", {}), Put("things/c", {}, expire_at=5_000))
    assert await store.purge(2_000) == (0 if backend.name == "firestore" else 1)
    if backend.name != "firestore":
        assert [item.id for item in (await store.query("things", Query())).documents] == ["b", "c"]


@pytest.mark.parametrize("moment", [-1, 253_402_300_800_000, 1.5, "soon", True])
async def test_an_expiry_that_is_no_time_is_refused(store, moment):
    with pytest.raises(Invalid):
        await store.commit(Create("things/a", {}, expire_at=moment))
