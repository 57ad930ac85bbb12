"""``.claude/container.yaml``: honoured, refused with its line, or named in a warning – nothing is silently accepted."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.core.container import PATH, Known, check_container
from infra.core.container_tools import ToolRules
from infra.core.mcp_catalogue import CATALOGUE, Packaging
from infra.core.tools import NEVER, TOOLS
from infra.documents import Unreadable, read_yaml

KNOWN = Known(models=["claude-opus-5-5", "claude-haiku-5-5"], secrets=frozenset({"GITHUB_TOKEN", "LINEAR_API_KEY"}))

WHOLE = """\
name: invoices
baseImage: ghcr.io/example/builder:22
model: opus
budget: $2.50
tools:
  allowed: [Read, Write, Edit, Bash, Browser]
  denied: [Task]
mcpServers:
  - name: github
    env:
      GITHUB_TOKEN: ${GITHUB_TOKEN}
  - name: linear
    env:
      LINEAR_API_KEY: ${LINEAR_API_KEY}
  - name: playwright
resources:
  memory: 2Gi
  timeout: 600s
  cpu: "2"
security:
  runAsUser: 1000
  readOnlyRoot: true
  noNewPrivileges: true
  dropCapabilities:
    - ALL
  networkMode: bridge
  allowedDomains:
    - python
    - "*.example.org"
"""


def check(text, known=KNOWN):
    return check_container(read_yaml(text.encode()), known)


def one_error(text, known=KNOWN):
    found = check(text, known).findings.errors
    assert len(found) == 1, [each.told(PATH) for each in found]
    return found[0].told(PATH)


def test_a_whole_file_means_what_it_says():
    checked = check(WHOLE)
    assert checked.findings.errors == ()
    container = checked.container
    assert (container.name, container.model) == ("invoices", "opus")
    assert container.budget_micros == 2_500_000
    assert (container.memory_bytes, container.milli_cpus, container.wall_seconds) == (2 << 30, 2000, 600)
    assert (container.run_as_user, container.network) == (1000, True)
    assert container.allowed_domains == ("python", "*.example.org")
    assert set(container.tools.allowed) >= {"Read", "Write", "Edit", "Bash", "mcp__playwright"}
    assert set(container.tools.denied) == {"Task", "Agent"}
    assert [order.server for order in container.mcp_servers] == ["github", "linear", "playwright"]
    assert container.mcp_servers[0].secrets == {"GITHUB_PERSONAL_ACCESS_TOKEN": "GITHUB_TOKEN"}
    assert container.mcp_servers[1].secrets == {"LINEAR_API_TOKEN": "LINEAR_API_KEY"}


def test_what_nobody_can_honour_is_named():
    told = [each.told(PATH) for each in check(WHOLE).findings.warnings]
    assert [line.split(" ")[1].rstrip(":") for line in told] == ["baseImage", "resources.cpu"]


def test_an_empty_file_asks_for_nothing():
    checked = check("")
    assert (checked.findings.all, checked.container.tools) == ([], ToolRules())


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("security:\n  allowedDomains: [python, 10.0.0.1]", "2:28", "it is an address"),
        ("security:\n  allowedDomains: [metadata.google.internal]", "2:20", "not on the internet"),
        ("allowedDomains: python", "1:17", "a list belongs here"),
        ("allowedDomains:\n  - {a: 1}", "2:5", "it is not a host name"),
        ("tools:\n  allowed: [Bashh]", "2:13", "Did you mean Bash? Allowed: Read, Write, Edit, Bash"),
        ("tools:\n  allowed: [Browser]", "2:13", "mcpServers: [{name: playwright}]"),
        ("tools:\n  allowed: [WebFetch]", "2:13", "allowedDomains instead"),
        ("tools:\n  allowed: [mcp__github]", "2:13", "needs the MCP server github"),
        ("tools:\n  allow: [Bash]", "2:3", "Did you mean allowed?"),
        ("budget: five dollars", "1:9", "five dollars is no amount in US dollars. Write a number, such as 5 or $5.00."),
        ("budget: -1", "1:9", "no amount"),
        ("budget: true", "1:9", "no amount"),
        ("budget:\n  daily: 5", "2:3", "Allowed: maxCostPerExecution."),
        ("model: gpt-7", "1:8", "Allowed: claude-opus-5-5, claude-haiku-5-5."),
        ("resources: {memory: 512Mi}", "1:21", "less than 1Gi"),
        ("resources: {memory: 2}", "1:21", "with its unit"),
        ("resources: {timeout: 600}", "1:22", "600s"),
        ("resources: {cpu: lots}", "1:18", "Write 2, 0.5 or 500m."),
        ("resources: [1]", "1:12", "This is a list, and a group of keys belongs here."),
        ("security: {runAsUser: 0}", "1:23", "never root"),
        ("security: {runAsUser: root}", "1:23", "whole number"),
        ("security: {readOnlyRoot: yes}", "1:26", "Write true or false."),
        ("security: {networkMode: host}", "1:25", "never shares the machine's network"),
        ("security: {dropCapabilities: [all]}", "1:31", "Write ALL"),
        ("security: {networkMode: none, allowedDomains: [python]}", "1:25", "Keep one of them."),
        ("allowedDomains: [go]\nsecurity: {allowedDomains: [python]}", "1:17", "Keep one of them."),
        ("baseImage: 'node:22; rm -rf /'", "1:12", "no image name"),
        ("privileged: true", "1:1", "There is no key privileged here."),
        ("- name: x", "1:1", "a group of keys belongs here"),
        ("mcpServers:\n  - name: gitub", "2:11", "Did you mean github?"),
        ("mcpServers:\n  - env: {}", "2:5", "A server needs a name."),
        ("mcpServers:\n  - name: github", "2:5", "needs GITHUB_TOKEN"),
        ("mcpServers:\n  - name: github\n    env: {GITHUB_TOKEN: '${NOPE}'}", "3:25", "Set for this project: GITHUB_TOKEN, LINEAR_API_KEY."),
        ("mcpServers:\n  - name: github\n    env: {GITHUB_TOKEN: ghp_abcdefghijkl}", "3:25", "is a secret: name one of the project's"),
        ("mcpServers:\n  - name: github\n    env: {GITHUB_TOKEN: '${GITHUB_TOKEN}', LD_PRELOAD: x}", "3:44", "takes no LD_PRELOAD"),
        ("mcpServers:\n  - name: playwright\n    command: sh", "3:5", "There is no key command here."),
        ("mcpServers: [{name: playwright}, {name: playwright}]", "1:41", "twice"),
    ],
)  # fmt: skip
def test_what_is_refused_says_where_why_and_what_is_allowed(text, place, words):
    told = one_error(text)
    assert told.startswith(f"{PATH}:{place} ")
    assert words in told


def test_a_secret_that_stands_in_the_file_is_not_repeated():
    told = one_error("mcpServers:\n  - name: github\n    env: {GITHUB_TOKEN: ghp_0123456789abcdef}")
    assert "ghp_" not in told


def test_everything_that_is_wrong_is_said_at_once_in_the_order_of_the_file():
    found = check("model: gpt-7\nbudget: five\ntools: {allowed: [Nope]}\nwhat: 1").findings.errors
    assert [each.place.line for each in found] == [1, 2, 3, 4]


def test_which_secrets_and_models_exist_may_be_unknown():
    text = "model: anything\nmcpServers:\n  - name: github\n    env: {GITHUB_TOKEN: '${WHATEVER}'}"
    checked = check(text, Known())
    assert checked.findings.errors == ()
    assert checked.container.mcp_servers[0].secrets == {"GITHUB_PERSONAL_ACCESS_TOKEN": "WHATEVER"}


def test_a_server_at_an_address_of_ones_own_may_reach_that_host_and_no_private_one():
    env = "JIRA_USERNAME: me, JIRA_API_TOKEN: '${JIRA}', JIRA_URL: "
    known = Known(secrets=frozenset({"JIRA"}))
    checked = check(f"mcpServers: [{{name: atlassian, env: {{{env}'https://example.atlassian.net/x'}}}}]", known)
    assert checked.findings.errors == ()
    assert checked.container.mcp_servers[0].hosts == ("example.atlassian.net",)
    for bad in ("http://example.org", "https://10.0.0.1", "https://metadata.google.internal", "https://a@b.org", "x"):
        assert check(f"mcpServers: [{{name: atlassian, env: {{{env}'{bad}'}}}}]", known).findings.errors, bad


def test_denying_what_bash_can_do_anyway_is_named():
    assert [each.path for each in check("tools: {denied: [Write]}").findings.warnings] == ["tools.denied[0]"]
    assert check("tools: {allowed: [Read], denied: [Write]}").findings.warnings == ()
    told = check("tools: {allowed: [Read, Bash], denied: [Bash]}").findings.warnings
    assert "denied wins" in told[0].message


def test_the_catalogue_holds_nine_pinned_servers_with_their_sources():
    assert len(CATALOGUE) == 9
    for name, server in CATALOGUE.items():
        assert server.source.startswith("https://github.com/"), name
        assert server.why, name
        assert server.version.lstrip("v").replace(".", "").isdigit(), name
        assert server.packaging in Packaging
        assert server.hosts or server.project_hosts or any(each.host for each in server.variables.values()), name
        assert not set(server.fixed) & {each.name for each in server.variables.values()}, name


def test_no_tool_is_both_possible_and_impossible():
    assert not set(NEVER) & {agent for names in TOOLS.values() for agent in names}


PIECES = st.sampled_from(
    [*WHOLE.splitlines(), "  - x", "    deeper:", "null", "tools: 1", "security: []", "${X}", "- - -"]
)


@given(st.lists(PIECES, max_size=12).map("\n".join))
@settings(max_examples=300)
def test_any_mixture_of_lines_is_a_value_or_findings_with_places(text):
    try:
        checked = check(text)
    except Unreadable:
        return
    lines = text.count("\n") + 1
    for finding in checked.findings.all:
        assert 1 <= finding.place.line <= lines
        assert finding.message.endswith((".", "?"))
