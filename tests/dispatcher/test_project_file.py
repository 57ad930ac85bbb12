"""The project's own file at claim time: from the default branch, honoured within the installation's limits, or the run ends with the line."""

import pytest

from infra.core.project_secrets import stored_name
from infra.core.repository import Repository
from infra.core.run import State
from tests.world.control_plane import control_plane
from tests.world.forge import FILES
from tests.world.git_client import clone, commit, succeed

SHOP = Repository(owner="acme", name="shop")

FILE = """\
model: haiku
budget: $2
tools: {allowed: [Read, Edit, Bash]}
mcpServers:
  - name: linear
    env: {LINEAR_API_KEY: "${LINEAR}"}
resources: {memory: 2Gi, timeout: 1h}
security: {runAsUser: 1234, allowedDomains: [python, docs.example.org]}
"""


async def claimed(tmp_path, content, *, secrets=(), **settings):
    files = FILES if content is None else {**FILES, ".claude/container.yaml": content}
    async with control_plane(tmp_path, files=files, **settings) as plane:
        for name in secrets:
            await plane.services.secrets.put(stored_name(SHOP, name), b"lin_api_the-value")
        await plane.new_run()
        runner = plane.runner()
        answer = await runner.claim()
        credentials = await runner.credentials("mcp") if answer.status_code == 200 else None
        return answer, await plane.run(runner.id), credentials


async def test_what_the_file_asks_for_is_in_the_assignment_within_the_limits_of_the_installation(tmp_path):
    answer, _, credentials = await claimed(
        tmp_path,
        FILE,
        secrets=["LINEAR"],
        allowed_models="claude-opus-5-5,claude-haiku-5-5",
        allowed_domains="node",
        run_timeout_seconds="900",
    )
    assignment = answer.json()["assignment"]
    assert assignment["model"] == "haiku"
    assert assignment["limits"]["budget_micros"] == 2_000_000
    assert assignment["limits"]["wall_seconds"] == 900
    assert assignment["allowed_domains"] == ["node", "python", "docs.example.org"]
    project = assignment["project"]
    assert set(project["tools"]["allowed"]) >= {"Read", "Edit", "Bash"}
    assert "Write" not in project["tools"]["allowed"]
    assert (project["memory_bytes"], project["run_as_user"]) == (2 << 30, 1234)
    assert [each["server"] for each in project["mcp_servers"]] == ["linear"]
    assert any("resources.timeout asks for 3600 s" in each for each in project["warnings"])
    assert "lin_api" not in answer.text
    assert credentials.json()["values"] == {"linear": {"LINEAR_API_TOKEN": "lin_api_the-value"}}
    assert credentials.headers["cache-control"] == "no-store"


async def test_without_a_file_nothing_is_asked_for(tmp_path):
    answer, _, credentials = await claimed(tmp_path, None)
    project = answer.json()["assignment"]["project"]
    assert project["tools"] == {"allowed": None, "denied": [], "max_risk": "high"}
    assert (project["mcp_servers"], project["warnings"]) == ([], [])
    assert credentials.json()["values"] == {}


@pytest.mark.parametrize(
    ("content", "place", "words"),
    [
        ("budget: five dollars\n", "1:9", "no amount in US dollars"),
        ("name: x\nmodel: gpt-7\n", "2:8", "Allowed: claude-opus-5-5"),
        ("tools:\n  allowed:\n    - Bashh\n", "3:7", "Did you mean Bash?"),
        ("security: {allowedDomains: [10.0.0.1]}\n", "1:29", "it is an address"),
        (FILE.replace("model: haiku\n", ""), "5:27", "pullwright secret set acme/shop LINEAR"),
        ("a: [1\n", "2:1", "not YAML"),
        ("a: !!python/object/apply:os.system [id]\n", "1:4", "Tags"),
    ],
)
async def test_a_file_that_is_wrong_ends_the_run_with_its_line(tmp_path, content, place, words):
    answer, run, _ = await claimed(tmp_path, content)
    assert answer.status_code == 409
    assert run.state is State.BLOCKED
    assert run.reason.code == "invalid_project_file"
    assert run.reason.message.startswith(f".claude/container.yaml:{place} ")
    assert words in f"{run.reason.message} {run.reason.hint}"
    assert "start the run again" in run.reason.hint


async def test_the_file_is_that_of_the_default_branch_whatever_the_run_works_on(tmp_path):
    async with control_plane(tmp_path, files={**FILES, ".claude/container.yaml": "budget: $1\n"}) as plane:
        work = await clone(plane.github.clone_url(plane.github.person), tmp_path / "work")
        await commit(work, ".claude/container.yaml", "budget: $4\n", "More", branch="evil")
        await succeed("push", "--quiet", "origin", "evil", cwd=work)
        key = await plane.key()
        body = {
            "owner": "acme",
            "repo": "shop",
            "workflowId": "claude.yml",
            "ref": "evil",
            "inputs": {"action_type": "create-pr", "context": "Fix it"},
        }
        answer = await plane.http.post("/api/workflows/dispatch", json=body, headers={**key, "prefer": "respond-async"})
        assert answer.status_code == 202, answer.text
        assignment = (await plane.runner().claim()).json()["assignment"]
        assert assignment["ref"] == "evil"
        assert assignment["limits"]["budget_micros"] == 1_000_000


def test_names_in_the_store_are_unique_readable_and_fit():
    from hypothesis import given
    from hypothesis import strategies as st

    from infra.core.secrets import check_secret_name

    names = st.from_regex(r"[A-Za-z0-9_.-]{1,100}", fullmatch=True)

    @given(names, names, st.from_regex(r"[A-Z][A-Z0-9_]{0,99}", fullmatch=True))
    def check(one, other, secret):
        first, second = (stored_name(Repository("acme", each), secret) for each in (one, other))
        check_secret_name(first)
        assert (first == second) == (one.lower() == other.lower())

    check()
