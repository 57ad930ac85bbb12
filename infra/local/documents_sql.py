"""The store's SQL: the table, indexes over fields inside the JSON, and queries that those indexes answer.

A field is compared as two expressions, its kind and its value, because Firestore orders null < booleans < numbers < text
and never compares across these; SQLite alone would find that ``true = 1`` and that any text is greater than any number.
Lists and maps have no kind here, so they count as absent. https://firebase.google.com/docs/firestore/manage-data/data-types

An index is used only when the query repeats its expressions literally (https://sqlite.org/expridx.html), so field names
stand in the text of both. They are identifiers by then (``check_query``), never what a user typed.
"""

from __future__ import annotations

import hashlib
from typing import Any

from infra.core.errors import Invalid
from infra.core.store import Query, Where, check_path
from infra.core.store_rules import Scalar, check_query, read_cursor

TABLES = (
    # The revision is the row's number: new and changed rows go to the end of the file, and the change feed, which asks
    # for revisions above the last one it saw, walks (collection, row number), the index that ``documents_feed`` is.
    """CREATE TABLE IF NOT EXISTS documents (
         revision INTEGER PRIMARY KEY,
         collection TEXT NOT NULL,
         kind TEXT NOT NULL,
         id TEXT NOT NULL,
         expire_at INTEGER,
         changed_at INTEGER NOT NULL,
         data TEXT NOT NULL)""",
    "CREATE UNIQUE INDEX IF NOT EXISTS documents_path ON documents (collection, id)",
    "CREATE INDEX IF NOT EXISTS documents_feed ON documents (collection)",
    "CREATE INDEX IF NOT EXISTS documents_expiry ON documents (expire_at) WHERE expire_at IS NOT NULL",
    # one row; a number is never given out twice, not even after its document is gone
    "CREATE TABLE IF NOT EXISTS newest (revision INTEGER NOT NULL)",
    "INSERT INTO newest SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM newest)",
)

Index = str | tuple[str, ...]
"""One field, or several: those compared with ``==`` first, the one that orders the result last."""

_OPERATORS = {"==": "=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


def index(kind: str, fields: Index) -> str:
    """The statement that makes an index for all collections called ``kind`` (``runs``; ``chunks`` of every run)."""
    names = (fields,) if isinstance(fields, str) else fields
    check_path(f"{kind}/x")
    for name in names:
        check_query(kind, Query(order_by=name))
    columns = ", ".join(f"{_kind(name)}, {_value(name)}" for name in names)
    label = hashlib.sha256("\n".join((kind, *names)).encode()).hexdigest()[:16]
    return f"CREATE INDEX IF NOT EXISTS field_{label} ON documents (collection, {columns}, id) WHERE kind = {_quoted(kind)}"


def select(collection: str, query: Query) -> tuple[str, list[Any]]:
    """Statement and arguments for one page and one document more; rows of (id, data, revision, cursor value)."""
    conditions = ["collection = ?", f"kind = {_quoted(last_segment(collection))}"]
    arguments: list[Any] = [collection]
    for where in query.where:
        condition, values = _condition(where)
        conditions.append(condition)
        arguments += values
    order = _order(query)
    if query.order_by is not None:
        conditions.append(f"{_kind(query.order_by)} IS NOT NULL")
    place = read_cursor(query)
    if place is not None:
        comparison = "<" if query.descending else ">"
        conditions.append(f"({', '.join(order)}) {comparison} ({', '.join('?' * len(order))})")
        arguments += _after(*place)[-len(order) :]
    direction = " DESC" if query.descending else ""
    text = (
        f"SELECT id, data, revision, {_value(query.order_by) if query.order_by else 'NULL'} FROM documents "  # noqa: S608 - identifiers only, see above
        f"WHERE {' AND '.join(conditions)} ORDER BY {', '.join(f'{item}{direction}' for item in order)} LIMIT ?"
    )
    return text, [*arguments, query.limit + 1]


def last_segment(collection: str) -> str:
    return collection.rpartition("/")[2]


def _order(query: Query) -> list[str]:
    """Expressions to order by, the last of: kind, value, id. What a condition fixes is left out, because SQLite (3.40) does
    not see that an indexed expression is constant and would sort all that it found."""
    if query.order_by is None:
        return ["id"]
    operators = {where.op for where in query.where if where.field == query.order_by}
    if "==" in operators:
        return ["id"]
    if operators - {"in"}:
        return [_value(query.order_by), "id"]
    return [_kind(query.order_by), _value(query.order_by), "id"]


def _after(name: str, value: Scalar) -> list[Any]:
    return [_kind_of(value), _comparable(value), name]


def _condition(where: Where) -> tuple[str, list[Any]]:
    kind, value = _kind(where.field), _value(where.field)
    if where.op != "in":
        return f"{kind} = ? AND {value} {_OPERATORS[where.op]} ?", [_kind_of(where.value), _comparable(where.value)]
    if not where.value:
        return "FALSE", []
    by_kind: dict[int, list[Scalar]] = {}
    for choice in where.value:
        by_kind.setdefault(_kind_of(choice), []).append(_comparable(choice))
    parts = [f"{kind} = ? AND {value} IN ({', '.join('?' * len(choices))})" for choices in by_kind.values()]
    arguments = [argument for number, choices in by_kind.items() for argument in (number, *choices)]
    return f"({' OR '.join(parts)})", arguments


def _kind(field: str) -> str:
    return (
        f"CASE json_type(data, '$.{field}') WHEN 'null' THEN 0 WHEN 'false' THEN 1 WHEN 'true' THEN 1 "
        "WHEN 'integer' THEN 2 WHEN 'real' THEN 2 WHEN 'text' THEN 3 END"
    )


def _value(field: str) -> str:
    return f"ifnull(json_extract(data, '$.{field}'), 0)"


def _kind_of(value: Scalar) -> int:
    if value is None:
        return 0
    if isinstance(value, bool):
        return 1
    return 3 if isinstance(value, str) else 2


def _comparable(value: Scalar) -> Scalar:
    return 0 if value is None else value


def _quoted(segment: str) -> str:
    if "'" in segment:
        raise Invalid(f"{segment!r} is not a collection.", code="invalid_path")
    return f"'{segment}'"
