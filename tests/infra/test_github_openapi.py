"""Every request that the client can send fits GitHub's own description of its REST API (npm ``@octokit/openapi``, MIT)."""

import inspect
import re

import jsonschema
import pytest

from infra.core.ask import Via
from infra.core.conversing import CheckRun, Conclusion, NewCheck, Reaction, Spoken
from infra.core.forge import NewPullRequest
from infra.core.git_data import TreeEntry
from infra.core.repository import Repository
from infra.github import app_calls, calls, conversation_calls, files, git_data, reading_calls
from infra.github.protocol import Call
from tests.world.npm_data import npm_json

VERSION = "23.0.2"
REPO = Repository("octo-org", "hello.world")
SHA = "a" * 40
CHECK = NewCheck(
    name="Pullwright", head_sha=SHA, external_id="run-1", conclusion=Conclusion.SUCCESS, title="Done", summary="Well.",
    details_url="https://example.org/runs/1",
)  # fmt: skip


def a_check(app):
    return CheckRun(id=7, name="tests", app=app, status="completed", conclusion="failure")


SENT = {
    calls.app: [()],
    calls.installations: [()],
    calls.user: [("octocat",), ("pullwright[bot]",)],
    calls.installation: [(REPO,)],
    calls.access_token: [(1, REPO, {"contents": "write", "checks": "write"}), (1, None, {"metadata": "read"})],
    calls.facts: [(REPO, "https://github.com")],
    calls.resolve: [(REPO, "main"), (REPO, "feature/x"), (REPO, SHA)],
    calls.permission: [(REPO, "octocat")],
    calls.pull: [(REPO, 7)],
    calls.pulls_from: [(REPO, "claude/run-1")],
    calls.open_pull: [(REPO, NewPullRequest(title="T", body="B", head_branch="a", base_branch="main", draft=True))],
    conversation_calls.comment: [(REPO, 7, "hello")],
    conversation_calls.edit_comment: [(REPO, 7, "hello")],
    conversation_calls.comments_since: [(REPO, 7, 1_700_000_000_000)],
    conversation_calls.react: [(REPO, spoken, 7, reaction) for spoken in Spoken for reaction in Reaction],
    conversation_calls.add_labels: [(REPO, 7, ["bug", "needs-human"])],
    conversation_calls.remove_label: [(REPO, 7, "good first/issue")],
    conversation_calls.assign: [(REPO, 7, ["octocat"])],
    conversation_calls.request_reviewers: [(REPO, 7, ["octocat"], ["backend"])],
    conversation_calls.reply: [(REPO, 7, 8, "hello")],
    conversation_calls.review_comments_since: [(REPO, 7, 1_700_000_000_000)],
    conversation_calls.add_check: [(REPO, CHECK)],
    conversation_calls.checks_on: [(REPO, SHA, True), (REPO, "main", False)],
    conversation_calls.rerun_check: [(REPO, a_check("github-actions")), (REPO, a_check("ci"))],
    conversation_calls.compare: [(REPO, SHA, "main")],
    git_data.blob_call: [(REPO, b"\x00\xff")],
    git_data.tree_call: [
        (
            REPO,
            SHA,
            [
                TreeEntry(path="a", mode="100644", text="x"),
                TreeEntry(path="b", mode="120000", blob=SHA),
                TreeEntry(path="c", mode="100644"),
            ],
        )
    ],
    git_data.commit_call: [(REPO, "Fix it", SHA, SHA)],
    git_data.new_branch_call: [(REPO, "claude/run-1", SHA)],
    git_data.move_branch_call: [(REPO, "claude/run-1", SHA)],
    app_calls.app_details: [()],
    app_calls.hook_config: [()],
    app_calls.newest_deliveries: [(30,)],
    app_calls.convert_manifest: [("0123456789abcdef",)],
    files.file: [(REPO, ".claude/container.yaml", "main")],
    reading_calls.changed_files: [(REPO, 7)],
    reading_calls.membership: [("octo-org", "backend", "octocat")],
    reading_calls.app_behind: [("ci[bot]",)],
    reading_calls.said_on: [(REPO, 7)],
    reading_calls.lines_said_on: [(REPO, 7)],
    reading_calls.linked: [(REPO, 7)],
    reading_calls.notes_of: [(REPO, 7)],
    reading_calls.job_log: [(REPO, 7)],
    reading_calls.rendered: [(REPO, via, 7) for via in (Via.ISSUE, Via.COMMENT, Via.LINE)],
}


def sent():
    for make, arguments in SENT.items():
        keywords = [name for name, one in inspect.signature(make).parameters.items() if one.kind is one.KEYWORD_ONLY]
        for given in arguments:
            split = len(given) - len(keywords)
            yield make(*given[:split], **dict(zip(keywords, given[split:], strict=True)))


def resolved(value, whole):
    """Without ``$ref``; what requests are made of does not refer to itself."""
    if isinstance(value, list):
        return [resolved(one, whole) for one in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        found = whole
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return resolved(found, whole)
    return {key: resolved(one, whole) for key, one in value.items()}


def reduced(description):
    """path → method → its parameters and the schema of its body: a hundredth of the whole."""
    kept = {}
    for path, item in description["paths"].items():
        for method, operation in item.items():
            if method not in {"get", "post", "put", "patch", "delete"}:
                continue
            asked = resolved(operation.get("requestBody", {}), description)
            body = asked.get("content", {}).get("application/json", {}).get("schema")
            parameters = [
                {"name": one["name"], "in": one["in"], "required": one.get("required", False), "schema": one["schema"]}
                for one in resolved([*item.get("parameters", []), *operation.get("parameters", [])], description)
            ]
            kept.setdefault(path, {})[method] = {"parameters": parameters, "body": body}
    return kept


@pytest.fixture(scope="module")
def description():
    return npm_json("@octokit/openapi", VERSION, "generated/api.github.com.json", reduced)


def plain_schema(schema):
    """OpenAPI 3.0's ``nullable`` in the words of JSON Schema."""
    if isinstance(schema, list):
        return [plain_schema(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: plain_schema(value) for key, value in schema.items() if key not in {"nullable", "example", "examples"}}
    if schema.get("nullable") and "type" in made:
        made["type"] = [made["type"], "null"] if isinstance(made["type"], str) else [*made["type"], "null"]
    return made


def operation_of(call, description):
    """The described operation that a request reaches: of those that fit, the one that says most."""
    found = []
    for template, methods in description.items():
        pattern = "".join(
            "[^/]+" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{[^}]+\})", template)
        )
        if template.endswith(("{path}", "{ref}")):
            pattern = pattern.removesuffix("[^/]+") + ".+"
        if call.method.lower() in methods and re.fullmatch(pattern, call.path):
            found.append((template.count("{"), template, methods[call.method.lower()]))
    assert found, f"GitHub has no {call.method} {call.path}"
    return min(found, key=lambda one: (one[0], -len(one[1])))[1:]


def problems(call, description):
    template, operation = operation_of(call, description)
    known = {one["name"]: one for one in operation["parameters"] if one["in"] == "query"}
    for name, value in call.params.items():
        if name not in known:
            yield f"{template}: unknown parameter {name}"
            continue
        schema = plain_schema(known[name]["schema"])
        number = schema.get("type") == "integer"
        yield from _misfits(int(value) if number else value, schema, f"{template}?{name}")
    for name, one in known.items():
        if one["required"] and name not in call.params:
            yield f"{template}: {name} is missing"
    if call.json is None:
        return
    assert operation["body"] is not None, f"{template} takes no body"
    schema = plain_schema(operation["body"])
    yield from _misfits(dict(call.json), schema, template)
    for key in call.json:
        if not any(
            key in one.get("properties", {}) for one in [schema, *schema.get("oneOf", []), *schema.get("anyOf", [])]
        ):
            yield f"{template}: unknown field {key}"


def _misfits(value, schema, where):
    for error in jsonschema.Draft7Validator(schema).iter_errors(value):
        yield f"{where}: {error.message[:300]}"


def test_every_request_fits_githubs_description(description):
    found = [problem for call in sent() for problem in problems(call, description)]
    assert found == []


def test_a_request_that_does_not_fit_is_seen(description):
    def wrong(**changes):
        call = conversation_calls.add_labels(REPO, 7, ["bug"])
        facts = {"method": call.method, "path": call.path, "json": call.json, "params": {}, **changes}
        return list(problems(Call(about="", read=len, **facts), description))

    assert wrong() == []
    assert wrong(json={"lables": ["bug"]}) == [
        "/repos/{owner}/{repo}/issues/{issue_number}/labels: unknown field lables"
    ]
    assert wrong(json={"labels": 7})
    assert wrong(params={"pages": "1"})
    with pytest.raises(AssertionError):
        wrong(path="/repos/a/b/isues/7/labels")


def test_no_request_is_left_out():
    """Whatever makes a ``Call`` in these modules is in the table above."""
    made = {
        make
        for module in (app_calls, calls, conversation_calls, files, git_data, reading_calls)
        for name, make in inspect.getmembers(module, inspect.isfunction)
        if make.__module__ == module.__name__
        and not name.startswith("_")
        and str(make.__annotations__.get("return", "")).startswith("Call[")
    }
    assert made == set(SENT)
