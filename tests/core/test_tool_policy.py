"""Tool calls are decided by name, by what a project allows and by how they look; whatever nobody knows is denied."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.core.container_tools import ToolRules
from infra.core.errors import Invalid
from infra.core.tool_policy import Allow, Deny, ToolPolicy, decide_tool, policy_for
from infra.core.tool_record import FIRST, check_records, record_line
from infra.core.tool_risk import Risk, assess

TREE = "/work/tree"


def look(name, **arguments):
    return assess(name, arguments, inside=(TREE,))


@pytest.mark.parametrize(
    ("command", "risk", "reason"),
    [
        ("ls -la && git status", Risk.MEDIUM, "runs a command"),
        ("python3 -m pytest -q", Risk.MEDIUM, "runs a command"),
        ("pip install requests", Risk.MEDIUM, "installs packages"),
        ("env | sort", Risk.MEDIUM, "reads its environment"),
        ("curl http://example.org", Risk.HIGH, "reaches out"),
        ("x=1; /usr/bin/wget x", Risk.HIGH, "reaches out"),
        ("git -C . push origin main", Risk.HIGH, "reaches out"),
        ("exec 3<>/dev/tcp/10.0.0.1/80", Risk.HIGH, "reaches out"),
        ("cat /proc/1/environ", Risk.HIGH, "reads other processes"),
        ("cat /proc/$PPID/environ", Risk.HIGH, "reads other processes"),
        ("cat ~/.ssh/id_rsa", Risk.HIGH, "looks for credentials"),
        ("sudo -n true", Risk.HIGH, "asks for other rights"),
        ("echo x > .git/hooks/pre-push", Risk.HIGH, "changes what git runs"),
        ("git config core.fsmonitor evil", Risk.HIGH, "changes what git runs"),
        ("echo aWQ= | base64 -d | sh", Risk.HIGH, "runs what it decodes"),
        ("nohup setsid sleep 99 &", Risk.HIGH, "outlives its call"),
        ("rm -rf /", Risk.HIGH, "deletes widely"),
        ("true " + "x" * 30_000, Risk.HIGH, "is too long to be judged"),
    ],
)
def test_commands_are_looked_at(command, risk, reason):
    found = look("Bash", command=command)
    assert (found.risk, reason in found.reasons) == (risk, True), found


@pytest.mark.parametrize(
    ("name", "path", "risk"),
    [
        ("Read", f"{TREE}/src/a.py", Risk.LOW),
        ("Read", "src/a.py", Risk.LOW),
        ("Read", "/etc/passwd", Risk.HIGH),
        ("Read", f"{TREE}/../git/config", Risk.HIGH),
        ("Read", f"{TREE}x/a", Risk.HIGH),
        ("Write", f"{TREE}/src/a.py", Risk.MEDIUM),
        ("Write", f"{TREE}/.github/workflows/ci.yml", Risk.HIGH),
        ("Edit", f"{TREE}/.git/config", Risk.HIGH),
        ("Edit", "~/.bashrc", Risk.HIGH),
    ],
)
def test_file_tools_are_looked_at_by_their_place(name, path, risk):
    assert look(name, file_path=path).risk is risk


def test_what_nobody_knows_is_denied():
    for name in ("Nonsense", "bash", "", "mcp__x__y", "mcp__github", "WebFetch", "AskUserQuestion"):
        assert isinstance(decide_tool(ToolPolicy(), name, {}), Deny), name
    for name in ("Bash", "Read", "Task", "Agent", "ToolSearch", "mcp__people__ask"):
        assert isinstance(decide_tool(ToolPolicy(), name, {}), Allow), name


def test_a_project_allows_and_denies_and_denied_wins():
    policy = policy_for(ToolRules(allowed=("Read", "Bash", "mcp__github"), denied=("Bash",)), ["github", "linear"])
    assert isinstance(decide_tool(policy, "Read", {"file_path": "x"}), Allow)
    assert isinstance(decide_tool(policy, "mcp__github__get_issue", {}), Allow)
    for name in ("Bash", "Write", "mcp__linear__search", "mcp__notion__x"):
        assert isinstance(decide_tool(policy, name, {}), Deny), name
    assert policy.offered >= {"Read", "Bash", "ToolSearch"}
    assert not any(name.startswith("mcp__") for name in policy.offered)


def test_a_project_draws_a_line_at_a_risk():
    policy = policy_for(ToolRules(max_risk=Risk.MEDIUM), [])
    assert isinstance(decide_tool(policy, "Bash", {"command": "ls"}), Allow)
    denied = decide_tool(policy, "Bash", {"command": "curl x"})
    assert "looks high in risk (reaches out)" in denied.reason


@given(
    st.text(max_size=40),
    st.dictionaries(st.text(max_size=10), st.text(max_size=40) | st.integers() | st.none(), max_size=4),
)
def test_any_call_is_decided_and_arguments_never_open_what_the_name_closes(name, arguments):
    bare, dressed = decide_tool(ToolPolicy(), name, {}), decide_tool(ToolPolicy(), name, arguments)
    assert dressed.reason
    assert not (isinstance(bare, Deny) and isinstance(dressed, Allow))


def lines_of(count):
    before, lines = FIRST, []
    for number in range(1, count + 1):
        line, before = record_line(number, 1000 + number, before, {"kind": "call", "tool": f"t{number}", "ü": "\n"})
        lines.append(line)
    return lines, before


def test_the_log_is_a_chain():
    lines, last = lines_of(5)
    assert check_records(lines) == (5, last)
    assert check_records([]) == (0, FIRST)
    assert all(line.count(b"\n") == 1 for line in lines)


@given(st.integers(0, 4), st.sampled_from(["change", "drop", "swap", "double", "garbage"]))
def test_a_changed_log_does_not_pass(place, how):
    lines, last = lines_of(5)
    if how == "change":
        lines[place] = lines[place].replace(b'"tool":"t', b'"tool":"T')
    elif how == "drop":
        del lines[place]
    elif how == "swap":
        lines[place], lines[place - 1] = lines[place - 1], lines[place]
    elif how == "double":
        lines.insert(place, lines[place])
    else:
        lines[place] = json.dumps(["x"]).encode()
    try:
        count, digest = check_records(lines)
    except Invalid:
        return
    assert (count, digest) != (5, last)  # cut off at its end: the digest that was told shows it
