"""The generated parts of ``docs/security.md`` and ``docs/project.md``."""

from infra.core.carriers import NOT_UNPACKED
from infra.core.encodings import NOT_COVERED
from infra.core.mcp_catalogue import CATALOGUE, McpServer, Packaging
from tests.world.attacker import table


def attacks() -> str:
    return f"\n{table()}\n\n"


def uncovered() -> str:
    return "".join(f"  - {each}\n" for each in (*NOT_COVERED, *NOT_UNPACKED))


_INSTALL = {
    Packaging.NPM: "npm install --global --ignore-scripts --prefix /opt/mcp/{name} {package}@{version}",
    Packaging.PYPI: "python3 -m venv /opt/mcp/{name} && /opt/mcp/{name}/bin/pip install {package}=={version}",
    Packaging.GO: "GOBIN=/opt/mcp/{name}/bin go install {package}@{version}",
}


def servers() -> str:
    rows = [
        f"| [{name}]({each.source}) | {each.about} | {each.version} | {_variables(each)} | {_reach(each)} |"
        for name, each in CATALOGUE.items()
    ]
    commands = [
        _INSTALL[each.packaging].format(name=name, package=each.package, version=each.version)
        for name, each in CATALOGUE.items()
    ]
    head = ["", "| name | what for | version | `env` | may reach |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows, "", "```sh", *commands, "```", "", ""])


def _variables(server: McpServer) -> str:
    return " ".join(f"`{name}`" if each.required else f"(`{name}`)" for name, each in server.variables.items())


def _reach(server: McpServer) -> str:
    own = ["the host of its address"] if any(each.host for each in server.variables.values()) else []
    project = ["the project's `allowedDomains`"] if server.project_hosts else []
    return ", ".join([*(f"`{host}`" for host in server.hosts), *own, *project])
