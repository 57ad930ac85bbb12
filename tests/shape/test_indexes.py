"""Every query has its index and every expiring document its rule: read from the code, compared with what is declared, and
with what Terraform makes of it."""

import ast
import re
from pathlib import Path

from infra.records.indexes import COMPOSITE, EXPIRING, INDEXES

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "infra/records").glob("*.py")) + sorted((ROOT / "dispatcher").rglob("*.py"))


def calls(name):
    """(file, call) of every call of a function or class of this name."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == name:
                yield path, node


def constants(node):
    return [part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)]


def order(query):
    """What a query in the code orders by; empty for the id."""
    named = {keyword.arg: keyword.value for keyword in query.keywords}
    return constants(named["order_by"])[0] if "order_by" in named else ""


def declared():
    return {fields[-1] if isinstance(fields, tuple) else fields for listed in INDEXES.values() for fields in listed}


def test_every_order_is_declared():
    orders = {order(call) for _, call in calls("Query")} - {""}
    assert orders
    assert orders <= declared()


def test_every_condition_beside_the_order_has_an_index_of_several_fields():
    composite = {field for _, fields in COMPOSITE for field in fields[:-1]}
    beside = set()
    for _, call in calls("Where"):
        field, op = constants(call)[:2]
        if op in {"==", "in"}:
            beside.add(field)
    assert beside == composite


def test_every_document_that_expires_is_in_a_collection_that_is_cleaned():
    found = set()
    for name in ("Create", "Put"):
        for path, call in calls(name):
            if len(call.args) > 2 or any(keyword.arg == "expire_at" for keyword in call.keywords):
                found.add(collection(path, call.args[0]))
    assert found == set(EXPIRING)


def collection(path, place):
    """The last collection in a document's path, as it is written in the code."""
    source, text = path.read_text(), ast.unparse(place)
    if isinstance(place, ast.Name):  # a variable, built a few lines above
        text = re.search(rf"\b{place.id} = (.+)", source)[1]
    for name, value in re.findall(r"^([A-Z]+) = \"(\w+)\"", source, re.MULTILINE):
        text = text.replace(f"{{{name}}}", value)
    for name, value in re.findall(r"def (\w+)\(.*?\) -> str:\n    return f\"([^\"]+)\"", source):
        text = text.replace(f"{{{name}(run_id)}}", value)
    return re.findall(r"(?:^f?['\"]|/)([a-z_]+)/", text)[-1]


def test_terraform_says_the_same():
    text = (ROOT / "terraform/firestore.tf").read_text()
    assert re.findall(r'"([a-z_]+)"', re.search(r"expiring\s*=\s*\[(.*?)\]", text)[1]) == list(EXPIRING)
    for name, fields in COMPOSITE:
        listed = ", ".join(f'"data.{field}"' for field in fields)
        assert re.search(rf'collection\s*=\s*"{name}"\s+fields\s*=\s*\[{re.escape(listed)}\]', text), (name, fields)
