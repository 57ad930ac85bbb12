"""The description of the HTTP surface is made from the routes, and what the routes answer is what it says."""

import ast
import inspect
import json
import textwrap

import jsonschema
import pytest

from dispatcher.api.openapi import BODIES, describe
from dispatcher.app import ROUTES, Access
from infra.core.access import Permission


@pytest.fixture(scope="module")
def described():
    return json.loads(json.dumps(describe(ROUTES)))


def path_of(rule):
    return rule.path.replace(":path", "")


def schema(described, part):
    """A part of the description that knows where its references lead."""
    return {**part, "components": described["components"]}


def test_every_route_is_described_once_with_words_and_parameters(described):
    operations = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    assert operations == {(rule.method, path_of(rule)) for rule in ROUTES}
    names = [one["operationId"] for methods in described["paths"].values() for one in methods.values()]
    assert len(names) == len(set(names))
    for path, methods in described["paths"].items():
        for operation in methods.values():
            assert operation["summary"]
            assert [one["name"] for one in operation["parameters"]] == [
                part.strip("{}") for part in path.split("/") if part.startswith("{")
            ]


def test_all_references_lead_somewhere_and_all_schemas_are_schemas(described):
    references = set()

    def look(node):
        if isinstance(node, dict):
            references.update([node["$ref"]] if "$ref" in node else [])
            for value in node.values():
                look(value)
        elif isinstance(node, list):
            for value in node:
                look(value)

    look(described)
    known = {f"#/components/schemas/{name}" for name in described["components"]["schemas"]}
    assert references <= known
    for one in described["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(one)


def decoded(handler):
    """The type that a handler's own text decodes, by name; None when it decodes nothing."""
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(handler)))):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "decode":
            kind = node.args[0]
            return getattr(kind, "id", getattr(kind, "attr", None))
    return None


def test_the_bodies_are_those_that_handlers_decode():
    for rule in ROUTES:
        found = decoded(rule.handler)
        if found is not None:
            assert BODIES[rule.handler].__name__ == found, rule.path
        elif rule.method == "GET":
            assert rule.handler not in BODIES


async def test_every_route_refuses_a_stranger_as_described(plane, described):
    for rule in ROUTES:
        if rule.access is Access.ANYONE:
            continue
        path = path_of(rule).replace("{run_id}", "run-" + "0" * 26)
        answer = await plane.http.request(rule.method, path)
        refusal = described["paths"][path_of(rule)][rule.method.lower()]["responses"]["4XX"]
        assert answer.status_code == 401, path
        jsonschema.validate(answer.json(), schema(described, refusal["content"]["application/json"]["schema"]))


async def test_what_is_described_is_what_is_taken(plane, described):
    """Bodies that the description allows are accepted; those that it does not are refused as it says."""
    key = await plane.key(Permission.ADMIN)
    good = {
        "/api/workflows/dispatch": {
            "owner": "acme",
            "repo": "shop",
            "workflowId": "claude.yml",
            "inputs": {"action_type": "create-pr", "context": "x"},
        },
        "/api/runs": {"owner": "acme", "repo": "shop", "task": "x"},
        "/api/projects/{project}/agentic-sessions": {"prompt": "x"},
    }
    for path, body in good.items():
        operation = described["paths"][path]["post"]
        wanted = schema(described, operation["requestBody"]["content"]["application/json"]["schema"])
        jsonschema.validate(body, wanted)
        target = path.replace("{project}", "acme--shop")
        headers = {**key, "prefer": "respond-async"}
        assert (await plane.http.post(target, json=body, headers=headers)).status_code in {201, 202}
        bad = {**body, "colour": "red"}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, wanted)
        refused = await plane.http.post(target, json=bad, headers=headers)
        assert refused.status_code == 422
        jsonschema.validate(refused.json(), described["components"]["schemas"]["Error"])


async def test_it_is_served(plane, described):
    answer = await plane.http.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.json() == described
