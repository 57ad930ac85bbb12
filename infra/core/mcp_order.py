"""``mcpServers`` of a project: which servers of the catalogue it switches on, and which of its secrets they get."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from infra.core.egress import host_name
from infra.core.errors import Invalid
from infra.core.mcp_catalogue import CATALOGUE, McpServer
from infra.core.tree import Findings, Group, choices, one_of, shown

_REFERENCE = re.compile(r"\$\{([A-Z][A-Z0-9_]{0,99})\}")
_URL_HOST = re.compile(r"https://([^/\s:@?#]+)(?:/[^\s]*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class McpOrder:
    """One server to start. ``secrets``: the server's variable → the project's secret that it gets; ``plain``: the server's variable →
    text; ``hosts``: what it may reach beside what the catalogue says."""

    server: str
    secrets: Mapping[str, str] = field(default_factory=dict)
    plain: Mapping[str, str] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()


def read_mcp_servers(
    top: Group, findings: Findings, *, secrets: frozenset[str] | None, set_secret: str
) -> tuple[McpOrder, ...]:
    """``secrets``: names that are set for the project, None when that is not known; ``set_secret``: the command that sets one."""
    orders: list[McpOrder] = []
    for group in top.groups("mcpServers"):
        name = group.scalar("name", one_of(list(CATALOGUE)), "")
        if not name:
            if group.entry("name") is None:
                findings.error(group.place, group.path, "A server needs a name.", choices("", CATALOGUE))
            continue
        if name in {order.server for order in orders}:
            findings.error(group.place_of("name"), group.at("name"), f"{name} is switched on twice.")
        orders.append(_order(name, group, findings, secrets, set_secret))
        group.close()
    return tuple(orders)


def _order(name: str, group: Group, findings: Findings, secrets: frozenset[str] | None, set_secret: str) -> McpOrder:
    server = CATALOGUE[name]
    env = group.group("env")
    given: dict[str, str] = {}
    plain: dict[str, str] = {}
    for key, entry in env.pairs():
        try:
            _value(server, key, entry.node.value, given, plain)
        except ValueError as error:
            place = entry.node.place if key in server.variables else entry.place
            findings.error(place, env.at(shown(key)), str(error))
            continue
        reference = given.get(server.variables[key].name)
        if reference and secrets is not None and reference not in secrets:
            message = f"${{{reference}}} is no secret of this project."
            findings.error(entry.node.place, env.at(key), message, _how_to_set(reference, secrets, set_secret))
    missing = [key for key, each in server.variables.items() if each.required and each.name not in given | plain]
    unread = {key for key, _ in env.pairs()}
    for key in missing:
        if key not in unread:
            hint = f"Add env: {{{key}: ${{{key}}}}}." if server.variables[key].secret else f"Add env: {{{key}: …}}."
            findings.error(group.place, group.path, f"The server {name} needs {key}.", hint)
    hosts = tuple(_host(plain[each.name]) for each in server.variables.values() if each.host and each.name in plain)
    return McpOrder(server=name, secrets=given, plain=plain, hosts=hosts)


def _value(server: McpServer, key: str, value: object, given: dict[str, str], plain: dict[str, str]) -> None:
    """Sorts one variable into secrets and plain texts. Raises ``ValueError`` with a sentence."""
    if key not in server.variables:
        known = list(server.variables)
        raise ValueError(f"This server takes no {shown(key)}. {choices(key, known) if known else 'It takes none.'}")
    variable = server.variables[key]
    word = value if isinstance(value, str) else ""
    reference = _REFERENCE.fullmatch(word)
    if variable.secret:
        if reference is None:
            raise ValueError(f"{key} is a secret: name one of the project's secrets, such as ${{{key}}}.")
        given[variable.name] = reference[1]
        return
    if reference is not None:
        given[variable.name] = reference[1]
        if variable.host:
            raise ValueError("Which host a server may reach is no secret: write the address.")
        return
    if not word or "$" in word or not word.isprintable():
        raise ValueError(f"{shown(str(value))} does not fit. Write a plain text, or ${{NAME}} for a secret as a whole.")
    if variable.host:
        _host(word)
    plain[variable.name] = word


def _host(url: str) -> str:
    found = _URL_HOST.fullmatch(url)
    try:
        return host_name(found[1] if found else "")
    except Invalid as error:
        raise ValueError(
            f"{shown(url)} is no address of a public host. Write one such as https://example.atlassian.net."
        ) from error


def _how_to_set(name: str, secrets: frozenset[str], set_secret: str) -> str:
    known = f"Set for this project: {', '.join(sorted(secrets))}." if secrets else "No secret is set for this project."
    return f"{known} Set it with: {set_secret.format(name=name)}"


def names_used(orders: tuple[McpOrder, ...]) -> frozenset[str]:
    """The project's secrets that the servers get."""
    return frozenset(name for order in orders for name in order.secrets.values())
