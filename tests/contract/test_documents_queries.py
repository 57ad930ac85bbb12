"""What ``infra/core/store.py`` promises of queries, cursors, and of any sequence of commits: the same as a plain dict."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.core.errors import AlreadyExists, Conflict, Invalid
from infra.core.store import Create, Delete, Put, Query, Replace, Where

EXAMPLES = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


async def ids(store, collection="things", **query):
    page = await store.query(collection, Query(**query))
    return "".join(document.id for document in page.documents)


async def fill(store, **values):
    await store.commit(*(Create(f"things/{name}", data) for name, data in values.items()))


async def test_without_an_order_documents_come_by_id(store):
    await fill(store, b={}, a={}, c={}, B={}, _={})
    assert await ids(store) == "B_abc"


async def test_equal_values_come_by_id_in_the_direction_of_the_order(store):
    await fill(store, c={"n": 1}, a={"n": 1}, b={"n": 1.0}, d={"n": 0}, e={"n": 2})
    assert await ids(store, order_by="n") == "dabce"
    assert await ids(store, order_by="n", descending=True) == "ecbad"


async def test_documents_without_the_field_are_left_out_and_null_is_a_value(store):
    await fill(store, a={"n": 1}, b={}, c={"n": None}, d={"m": 1}, e={"n": {"x": 1}}, f={"n": [1]})
    assert await ids(store, order_by="n") == "ca"
    assert await ids(store, where=(Where("n", "==", None),)) == "c"
    assert await ids(store, where=(Where("n", "<=", 1),), order_by="n") == "a"


async def test_order_goes_by_kind_and_then_by_value(store):
    values = {"a": "", "b": True, "c": -1.5, "d": None, "e": False, "f": 10, "g": "é", "h": "z", "i": "Z", "j": 2**60}
    await fill(store, **{name: {"n": value} for name, value in values.items()})
    assert await ids(store, order_by="n") == "debcfjaihg"
    assert await ids(store, order_by="n", descending=True) == "ghiajfcbed"


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Where("n", "==", 1), "ab"),
        (Where("n", "==", True), "c"),
        (Where("n", "==", "1"), "d"),
        (Where("n", "<", 2), "ab"),
        (Where("n", ">=", 1), "abe"),
        (Where("n", ">", False), "c"),
        (Where("n", ">=", ""), "d"),
        (Where("n", "in", [1, "1", False]), "abd"),
        (Where("n", "in", []), ""),
    ],
)
async def test_comparison_never_crosses_kinds(store, where, expected):
    await fill(store, a={"n": 1}, b={"n": 1.0}, c={"n": True}, d={"n": "1"}, e={"n": 3}, f={"n": None}, g={})
    assert sorted(await ids(store, where=(where,), order_by="n")) == sorted(expected)


async def test_a_dotted_field_is_a_field_inside_a_map(store):
    await fill(store, a={"a": {"b": 2}}, b={"a": {"b": 1}}, c={"a": 1}, d={"a.b": 1}, e={"a": {}})
    assert await ids(store, order_by="a.b") == "ba"
    assert await ids(store, where=(Where("a.b", "==", 1),)) == "b"


async def test_equalities_combine_with_an_order_on_another_field(store):
    await fill(
        store,
        a={"s": "x", "n": 2, "t": 1},
        b={"s": "x", "n": 1, "t": 1},
        c={"s": "y", "n": 0, "t": 1},
        d={"s": "x", "n": 3, "t": 2},
    )
    assert await ids(store, where=(Where("s", "==", "x"),), order_by="n", descending=True) == "dab"
    assert await ids(store, where=(Where("s", "==", "x"), Where("t", "==", 1)), order_by="n") == "ba"
    assert await ids(store, where=(Where("s", "in", ("x", "y")), Where("n", ">", 0)), order_by="n") == "bad"
    assert await ids(store, where=(Where("n", ">=", 1), Where("n", "<", 3)), order_by="n") == "ba"


@pytest.mark.parametrize(
    "query",
    [
        Query(where=(Where("n", "<", 1),)),
        Query(where=(Where("n", "<", 1),), order_by="m"),
        Query(where=(Where("n", "<", None),), order_by="n"),
        Query(where=(Where("n", "==", [1]),)),
        Query(where=(Where("n", "==", float("nan")),)),
        Query(where=(Where("n", "==", 2**63),)),
        Query(where=(Where("n", "==", "a\0"),)),
        Query(where=(Where("n", "in", "text"),)),
        Query(where=(Where("n", "in", [None]),)),
        Query(where=(Where("n", "in", list(range(31))),)),
        Query(where=(Where("n", "in", list(range(6))), Where("m", "in", list(range(6))))),
        Query(order_by=""),
        Query(order_by="a..b"),
        Query(order_by="a'b"),
        Query(order_by="__name__"),
        Query(descending=True),
        Query(limit=0),
        Query(limit=1001),
        Query(after="!"),
        Query(after="bm8"),
        Query(after="x" * 9),
        Query(order_by="n", after="WyJhIl0"),
        Query(after="WyIuLiJd"),
        Query(order_by="n", after="WyJhIixbMV1d"),
    ],
)
async def test_what_not_every_store_can_answer_is_refused(store, query):
    with pytest.raises(Invalid):
        await store.query("things", query)


async def test_the_last_page_has_no_cursor(store):
    await fill(store, a={}, b={}, c={})
    assert (await store.query("things", Query(limit=3))).cursor is None
    first = await store.query("things", Query(limit=2))
    assert [item.id for item in first.documents] == ["a", "b"]
    second = await store.query("things", Query(limit=2, after=first.cursor))
    assert ([item.id for item in second.documents], second.cursor) == (["c"], None)
    assert await store.query("nothing", Query()) == type(first)((), None)


async def test_a_cursor_outlives_the_document_it_points_at(store):
    await fill(store, a={"n": 1}, b={"n": 1}, c={"n": 1}, d={"n": 2})
    first = await store.query("things", Query(order_by="n", limit=2))
    await store.commit(Delete("things/b"), Delete("things/a"))
    rest = await store.query("things", Query(order_by="n", limit=9, after=first.cursor))
    assert [item.id for item in rest.documents] == ["c", "d"]


VALUES = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, -2.0, "", "a", "é", "aa"])
DATA = st.fixed_dictionaries({}, optional={"n": VALUES | st.just([1]), "s": st.sampled_from("xy")})


@EXAMPLES
@given(
    documents=st.dictionaries(st.sampled_from("abcdefghijklm"), DATA, max_size=12),
    order=st.sampled_from([(None, False), ("n", False), ("n", True)]),
    state=st.sampled_from([None, "x"]),
    limit=st.integers(1, 5),
)
async def test_pages_neither_skip_nor_repeat(backend, documents, order, state, limit):
    order_by, descending = order
    store = backend.opened[0] if backend.opened else backend.open()
    collection = backend.collection()
    await store.commit(*(Create(f"{collection}/{name}", data) for name, data in documents.items()))
    where = (Where("s", "==", state),) if state else ()
    seen, cursor = [], None
    while True:
        query = Query(where=where, order_by=order_by, descending=descending, limit=limit, after=cursor)
        page = await store.query(collection, query)
        seen += [document.id for document in page.documents]
        cursor = page.cursor
        if cursor is None:
            break
        assert len(page.documents) == limit
    assert seen == expected(documents, order_by, state, descending)


def expected(documents, order_by, state, descending):
    def kind(value):
        return 0 if value is None else 1 if isinstance(value, bool) else 3 if isinstance(value, str) else 2

    chosen = [
        (name, data)
        for name, data in documents.items()
        if (state is None or data.get("s") == state)
        and (order_by is None or (order_by in data and not isinstance(data[order_by], list)))
    ]

    def key(item):
        value = item[1][order_by] if order_by else None
        comparable = value.encode() if isinstance(value, str) else value or 0
        return (kind(value), comparable, item[0])

    return [name for name, _ in sorted(chosen, key=key, reverse=descending)]


# any sequence of commits against a plain dict

NAMES = st.sampled_from("abcd")
WRITES = st.one_of(
    st.tuples(st.just("create"), NAMES, DATA),
    st.tuples(st.just("put"), NAMES, DATA),
    st.tuples(st.just("replace"), NAMES, DATA, st.sampled_from(["current", "former"])),
    st.tuples(st.just("delete"), NAMES, st.sampled_from(["any", "current", "former"])),
)


class Model:
    """What the port's sentences say, in the plainest way there is."""

    def __init__(self, collection):
        self.collection = collection
        self.documents = {}
        self.current = {}
        self.former = {}

    def write(self, planned):
        kind, name, *rest = planned
        path = f"{self.collection}/{name}"
        if kind == "create":
            return Create(path, rest[0])
        if kind == "put":
            return Put(path, rest[0])
        if kind == "replace":
            return Replace(path, rest[0], self.revision(name, rest[1]))
        return Delete(path, None if rest[0] == "any" else self.revision(name, rest[0]))

    def revision(self, name, which):
        return (self.current if which == "current" else self.former).get(name, "1")

    def errors(self, planned):
        kind, name, *rest = planned
        if kind == "create" and name in self.documents:
            return {AlreadyExists}
        if kind in ("replace", "delete") and rest[-1] != "any":
            fits = name in self.documents and rest[-1] == "current"
            return set() if fits else {Conflict}
        return set()

    def apply(self, planned, revision):
        kind, name, *rest = planned
        if name in self.current:
            self.former[name] = self.current[name]
        if kind == "delete":
            self.documents.pop(name, None)
        else:
            self.documents[name] = rest[0]
            self.current[name] = revision


@EXAMPLES
@given(commits=st.lists(st.lists(WRITES, min_size=1, max_size=3, unique_by=lambda item: item[1]), max_size=12))
async def test_any_sequence_of_commits_leaves_what_a_dict_would_hold(backend, commits):
    store = backend.opened[0] if backend.opened else backend.open()
    model = Model(backend.collection())
    for planned in commits:
        errors = set().union(*map(model.errors, planned))
        if errors:
            with pytest.raises(Conflict) as refused:
                await store.commit(*map(model.write, planned))
            assert refused.type in errors
            continue
        revisions = await store.commit(*map(model.write, planned))
        for item, revision in zip(planned, revisions, strict=True):
            model.apply(item, revision)
    page = await store.query(model.collection, Query())
    assert json.dumps({item.id: item.data for item in page.documents}, sort_keys=True) == json.dumps(
        model.documents, sort_keys=True
    )
    for document in page.documents:
        assert document.revision == model.current[document.id]
        assert await store.get(document.path) == document
