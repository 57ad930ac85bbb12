"""The MCP servers that a project can switch on by name: which program at which version, what it needs, where it may go.

A server runs outside the agent's box, in one of its own: its credential is out of the agent's reach, and it reaches no host but those
named here (docs/adr/0009). Versions are exact; a new one is a change that somebody reviews.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Packaging(StrEnum):
    """Where a server's program comes from, and so how an image installs it."""

    NPM = "npm"
    PYPI = "pypi"
    GO = "go"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One value that a server takes. ``name``: as the server calls it; ``host``: the value is an address whose host the server
    may reach."""

    name: str
    secret: bool = True
    required: bool = True
    host: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServer:
    """``variables``: as a project names them. ``fixed``: set in any case, mostly to keep the server from writing. ``hosts``: entries as
    in ``allowedDomains``; ``project_hosts``: it may reach what the project's agent may."""

    about: str
    why: str
    packaging: Packaging
    package: str
    version: str
    program: str
    source: str
    arguments: tuple[str, ...] = ()
    variables: Mapping[str, Variable] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    project_hosts: bool = False


PROXY = "{proxy}"
"""In an argument: the address of the server's own egress proxy, for programs that read no HTTPS_PROXY."""

CATALOGUE: Mapping[str, McpServer] = {
    "github": McpServer(
        about="Issues, pull requests, code and Actions of GitHub, read only.",
        why="The forge itself: other repositories, issues and runs that the task refers to.",
        packaging=Packaging.GO,
        package="github.com/github/github-mcp-server/cmd/github-mcp-server",
        version="v1.5.0",
        program="github-mcp-server",
        source="https://github.com/github/github-mcp-server",
        arguments=("stdio",),
        variables={"GITHUB_TOKEN": Variable(name="GITHUB_PERSONAL_ACCESS_TOKEN")},
        fixed={"GITHUB_READ_ONLY": "1"},
        hosts=("api.github.com", "raw.githubusercontent.com"),
    ),
    "linear": McpServer(
        about="Issues, projects and comments of Linear.",
        why="The issue tracker most often asked for beside GitHub's own.",
        packaging=Packaging.NPM,
        package="@tacticlaunch/mcp-linear",
        version="1.4.3",
        program="mcp-linear",
        source="https://github.com/tacticlaunch/mcp-linear",
        variables={"LINEAR_API_KEY": Variable(name="LINEAR_API_TOKEN")},
        hosts=("api.linear.app",),
    ),
    "atlassian": McpServer(
        about="Jira issues and Confluence pages, read only.",
        why="Where larger companies keep the task that an issue only links to.",
        packaging=Packaging.PYPI,
        package="mcp-atlassian",
        version="0.23.1",
        program="mcp-atlassian",
        source="https://github.com/sooperset/mcp-atlassian",
        variables={
            "JIRA_URL": Variable(name="JIRA_URL", secret=False, host=True),
            "JIRA_USERNAME": Variable(name="JIRA_USERNAME", secret=False),
            "JIRA_API_TOKEN": Variable(name="JIRA_API_TOKEN"),
            "CONFLUENCE_URL": Variable(name="CONFLUENCE_URL", secret=False, required=False, host=True),
            "CONFLUENCE_USERNAME": Variable(name="CONFLUENCE_USERNAME", secret=False, required=False),
            "CONFLUENCE_API_TOKEN": Variable(name="CONFLUENCE_API_TOKEN", required=False),
        },
        fixed={"READ_ONLY_MODE": "true"},
    ),
    "sentry": McpServer(
        about="Errors with stack traces and releases from Sentry.",
        why="An error to repair usually begins as an entry there.",
        packaging=Packaging.NPM,
        package="@sentry/mcp-server",
        version="0.39.0",
        program="sentry-mcp",
        source="https://github.com/getsentry/sentry-mcp",
        variables={"SENTRY_ACCESS_TOKEN": Variable(name="SENTRY_ACCESS_TOKEN")},
        hosts=("sentry.io", "*.sentry.io"),
    ),
    "notion": McpServer(
        about="Pages and databases of Notion.",
        why="Specifications and decisions of small teams live there.",
        packaging=Packaging.NPM,
        package="@notionhq/notion-mcp-server",
        version="2.5.2",
        program="notion-mcp-server",
        source="https://github.com/makenotion/notion-mcp-server",
        variables={"NOTION_TOKEN": Variable(name="NOTION_TOKEN")},
        hosts=("api.notion.com",),
    ),
    "figma": McpServer(
        about="Layout and styles of Figma designs.",
        why="The design that a change to a user interface has to match.",
        packaging=Packaging.NPM,
        package="figma-developer-mcp",
        version="0.13.2",
        program="figma-developer-mcp",
        source="https://github.com/GLips/Figma-Context-MCP",
        arguments=("--stdio",),
        variables={"FIGMA_API_KEY": Variable(name="FIGMA_API_KEY")},
        hosts=("api.figma.com",),
    ),
    "context7": McpServer(
        about="Documentation of libraries at the version in use.",
        why="Saves an agent without internet from guessing at an interface.",
        packaging=Packaging.NPM,
        package="@upstash/context7-mcp",
        version="4.1.1",
        program="context7-mcp",
        source="https://github.com/upstash/context7",
        variables={"CONTEXT7_API_KEY": Variable(name="CONTEXT7_API_KEY", required=False)},
        hosts=("context7.com", "*.context7.com"),
    ),
    "playwright": McpServer(
        about="A browser to look at pages with; what the tool name Browser means.",
        why="Checks of web pages; the browser that other platforms build in.",
        packaging=Packaging.NPM,
        package="@playwright/mcp",
        version="0.0.83",
        program="playwright-mcp",
        source="https://github.com/microsoft/playwright-mcp",
        arguments=("--headless", "--isolated", "--proxy-server", PROXY),
        project_hosts=True,
    ),
    "fetch": McpServer(
        about="Web pages as text, from the project's allowed domains.",
        why="The web without WebFetch, which asks servers of others about each address.",
        packaging=Packaging.PYPI,
        package="mcp-server-fetch",
        version="2026.10.24",
        program="mcp-server-fetch",
        source="https://github.com/modelcontextprotocol/servers",
        arguments=("--proxy-url", PROXY),
        project_hosts=True,
    ),
}
