"""``.claude/container.yaml``: what a project says about its agent's surroundings, as a checked value.

Everything a person wrote is either honoured, refused with its line, or – where nobody can honour it – named in a warning. What
cannot be known here (which secrets exist, what this installation allows) arrives as an argument.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from infra.core.container_tools import ToolRules, read_tools
from infra.core.egress import parse_allow_list
from infra.core.errors import Invalid
from infra.core.mcp_order import McpOrder, read_mcp_servers
from infra.core.price import canonical_model
from infra.core.quantities import memory_bytes, milli_cpus, money_micros, seconds
from infra.core.tree import Findings, Group, Node, Scalar, choices, flag, one_of, shown, text, whole

PATH = ".claude/container.yaml"

LEAST_MEMORY = 1 << 30
"""Claude Code does not start with less for its data (measured with 2.1.329)."""

_IMAGE = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*(?::[\w.-]{1,128})?(?:@sha256:[0-9a-f]{64})?", re.ASCII)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What the project asks for. Zero, "" and None: nothing was said.

    ``memory_bytes`` is for each process of the agent; ``wall_seconds`` of one attempt; ``budget_micros`` of one run, in
    millionths of a dollar. ``allowed_domains``: entries for ``infra/core/egress.py``; ``network`` False closes the internet
    whatever they say.
    """

    name: str = ""
    base_image: str = ""
    model: str = ""
    tools: ToolRules = field(default_factory=ToolRules)
    mcp_servers: tuple[McpOrder, ...] = ()
    memory_bytes: int = 0
    milli_cpus: int = 0
    wall_seconds: int = 0
    budget_micros: int = 0
    run_as_user: int | None = None
    allowed_domains: tuple[str, ...] = ()
    network: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What an installation allows. ``models``: those that runs may use, None when that is not known here; ``secrets``: names that are
    set for the project, None likewise."""

    models: Sequence[str] | None = None
    secrets: frozenset[str] | None = None
    set_secret: str = "pullwright secret set OWNER/REPO {name}"  # noqa: S105 - a command, not a value


@dataclass(frozen=True, slots=True)
class Checked:
    """The value, worth using only without errors."""

    container: Container
    findings: Findings = field(default_factory=Findings)


def check_container(tree: Node, known: Known = Known()) -> Checked:
    """Reads the whole tree; says everything that is wrong with it at once."""
    findings = Findings()
    top = Group(tree, findings)
    name = top.scalar("name", text, "")
    base_image = top.scalar("baseImage", _image, "")
    if base_image:
        findings.warn(
            top.place_of("baseImage"),
            "baseImage",
            "Nobody changes images for one run: the runner's own image is used.",
            "Ask the operator for a runner whose image holds what you need.",
        )
    model = top.scalar("model", _model(known.models), "")
    budget = _budget(top, findings)
    servers = read_mcp_servers(top, findings, secrets=known.secrets, set_secret=known.set_secret)
    tools = read_tools(top.group("tools"), findings, servers=[order.server for order in servers])
    memory, cpus, wall = _resources(top.group("resources"), findings)
    user, network, domains = _security(top.group("security"), top, findings)
    top.close()
    container = Container(
        name=name,
        base_image=base_image,
        model=model,
        tools=tools,
        mcp_servers=servers,
        memory_bytes=memory,
        milli_cpus=cpus,
        wall_seconds=wall,
        budget_micros=budget,
        run_as_user=user,
        allowed_domains=domains,
        network=network,
    )
    return Checked(container, findings)


def _image(value: Scalar) -> str:
    if not isinstance(value, str) or len(value) > 400 or _IMAGE.fullmatch(value) is None:
        raise ValueError(f"{shown(str(value))} is no image name. Write one such as node:22 or ghcr.io/owner/image:tag.")
    return value


def _model(models: Sequence[str] | None) -> Callable[[Scalar], str]:
    def read(value: Scalar) -> str:
        name = text(value)
        if models is not None and canonical_model(name) not in {canonical_model(each) for each in models}:
            raise ValueError(f"Runs here may not use the model {shown(name)}. {choices(name, models)}")
        return name

    return read


def _budget(top: Group, findings: Findings) -> int:
    """``budget: $5.00``, or the same below ``budget.maxCostPerExecution`` as workflows write it."""
    entry = top.entry("budget")
    if entry is None or not isinstance(entry.node.value, Mapping):
        return top.scalar("budget", money_micros, 0)
    group = Group(entry.node, findings, "budget")
    micros = group.scalar("maxCostPerExecution", money_micros, 0)
    group.close()
    return micros


def _resources(group: Group, findings: Findings) -> tuple[int, int, int]:
    def memory(value: Scalar) -> int:
        size = memory_bytes(value)
        if size < LEAST_MEMORY:
            raise ValueError("The agent itself does not start with less than 1Gi.")
        return size

    found = (
        group.scalar("memory", memory, 0),
        group.scalar("cpu", milli_cpus, 0),
        group.scalar("timeout", seconds, 0),
    )
    if found[1]:
        findings.warn(
            group.place_of("cpu"),
            group.at("cpu"),
            "Processors are those of the runner that gets the run; nothing is set aside for one project.",
        )
    group.close()
    return found


def _security(group: Group, top: Group, findings: Findings) -> tuple[int | None, bool, tuple[str, ...]]:
    user = group.scalar("runAsUser", _user, None)
    for key, meaning in (
        ("readOnlyRoot", "The root of a sandbox is always read-only"),
        ("noNewPrivileges", "No program of an agent ever gains privileges"),
    ):
        if not group.scalar(key, flag, default=True):
            findings.warn(group.place_of(key), group.at(key), f"{meaning}; false changes nothing.")
    _capabilities(group, findings)
    mode = group.scalar("networkMode", _network_mode, "bridge")
    domains = _domains(group, findings) or _domains(top, findings)
    if group.entry("allowedDomains") and top.entry("allowedDomains"):
        message = "allowedDomains is here and below security."
        findings.error(top.place_of("allowedDomains"), "allowedDomains", message, "Keep one of them.")
    if mode == "none" and domains:
        message = "networkMode none closes the network, and allowedDomains opens it."
        findings.error(group.place_of("networkMode"), group.at("networkMode"), message, "Keep one of them.")
    group.close()
    return user, mode != "none", domains


def _user(value: Scalar) -> int | None:
    if value == 0 and not isinstance(value, bool):
        raise ValueError("An agent is never root. Write another user, such as 1000.")
    return whole(1, 65_533)(value)


def _network_mode(value: Scalar) -> str:
    if value == "host":
        raise ValueError("An agent never shares the machine's network. Write bridge and name hosts in allowedDomains.")
    return one_of(("bridge", "none"))(value)


def _capabilities(group: Group, findings: Findings) -> None:
    names = [(node, path) for node, path in group.items("dropCapabilities")]
    for node, path in names:
        if not isinstance(node.value, str) or re.fullmatch(r"ALL|(?:CAP_)?[A-Z_]{3,30}", node.value) is None:
            findings.error(node.place, path, "A capability belongs here.", "Write ALL, or names such as NET_RAW.")
    if names and all(node.value != "ALL" for node, _ in names):
        place, path = group.place_of("dropCapabilities"), group.at("dropCapabilities")
        findings.warn(place, path, "An agent loses all capabilities, not only these.")


def _domains(group: Group, findings: Findings) -> tuple[str, ...]:
    found: list[str] = []
    for node, path in group.items("allowedDomains"):
        entry = node.value if isinstance(node.value, str) else ""
        try:
            parse_allow_list([entry])
            found.append(entry)
        except Invalid as error:
            findings.error(node.place, path, error.message, error.hint)
    try:
        parse_allow_list(found)
    except Invalid as error:  # too many
        findings.error(group.place_of("allowedDomains"), group.at("allowedDomains"), error.message, error.hint)
    return tuple(found)
