"""What an agent may reach outside: names on a list, at public addresses, on two ports.

A list names hosts, never addresses: ``example.org`` is that host, ``*.example.org`` everything below it (not itself), and a
preset is a word for the hosts that a toolchain downloads from. Where a name leads is decided by the proxy that resolves
it, and whatever the name, only public addresses count.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from infra.core.errors import Forbidden, Invalid

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

HTTPS_PORT, HTTP_PORT = 443, 80

PRESETS: dict[str, tuple[str, ...]] = {
    "none": (),
    "python": ("pypi.org", "files.pythonhosted.org"),
    "node": ("registry.npmjs.org", "registry.yarnpkg.com", "nodejs.org"),
    "go": ("proxy.golang.org", "sum.golang.org", "go.dev"),
    "rust": ("crates.io", "index.crates.io", "static.crates.io", "static.rust-lang.org"),
    "java": ("repo.maven.apache.org", "repo1.maven.org", "plugins.gradle.org", "services.gradle.org"),
    "ruby": ("rubygems.org", "index.rubygems.org"),
    "debian": ("deb.debian.org", "security.debian.org"),
}
"""Hosts that the toolchains' own installers ask by default."""

MAX_ENTRIES = 200
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# Names that by convention never lead to the public internet. https://www.iana.org/assignments/special-use-domain-names
_PRIVATE_ENDINGS = frozenset(
    {
        "alt",
        "arpa",
        "corp",
        "example",
        "home",
        "internal",
        "intranet",
        "invalid",
        "lan",
        "local",
        "localhost",
        "onion",
        "test",
    }
)
# Not excluded by ``is_global``, and yet not (only) the internet:
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "100.64.0.0/10",  # shared address space; holds a cloud's metadata address
        "168.63.129.16/32",  # Azure's wire server. https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
        "192.0.0.0/24",  # protocol assignments; holds a cloud's metadata address
        "192.88.99.0/24",  # 6to4 relays
        "198.18.0.0/15",
        "240.0.0.0/4",
        "::/96",  # IPv4-compatible, and the unspecified and loopback addresses
        "::ffff:0:0/96",  # these and the next: IPv4 addresses in other clothes
        "::ffff:0:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2001::/23",
        "2002::/16",
        "fec0::/10",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowList:
    """``hosts``: exact names. ``below``: domains of which every name below is meant."""

    hosts: frozenset[str] = frozenset()
    below: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.hosts or self.below)

    def permits(self, host: str) -> bool:
        """``host`` as ``host_name`` returns it."""
        if host in self.hosts:
            return True
        labels = host.split(".")
        return any(".".join(labels[cut:]) in self.below for cut in range(1, len(labels)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    host: str
    port: int


def parse_allow_list(entries: Iterable[str]) -> AllowList:
    """The list that the entries make: hosts, ``*.domain`` and presets. Raises ``Invalid`` naming the entry that does not fit."""
    hosts: set[str] = set()
    below: set[str] = set()
    for count, entry in enumerate(entries, 1):
        if count > MAX_ENTRIES:
            raise _unfit(entry, f"it is number {count} of at most {MAX_ENTRIES}")
        if entry in PRESETS:
            hosts.update(PRESETS[entry])
        elif entry.startswith("*."):
            below.add(_listed(entry, entry.removeprefix("*.")))
        else:
            hosts.add(_listed(entry, entry))
    return AllowList(hosts=frozenset(hosts), below=frozenset(below))


def _listed(entry: str, name: str) -> str:
    try:
        return host_name(name)
    except Invalid as error:
        raise _unfit(entry, error.message) from error


def _unfit(entry: str, why: str) -> Invalid:
    return Invalid(
        f"The allowed domain {entry[:100]!r} does not fit: {why}.",
        code="invalid_allowed_domain",
        hint=f"Write host names such as example.org or *.example.org, or one of: {', '.join(PRESETS)}.",
    )


def host_name(text: str) -> str:
    """The name in its one spelling: lower case, without the root's dot.

    Raises ``Invalid`` for anything but a public host name: addresses in every notation, single words, names of private networks,
    letters beyond ASCII (their ``xn--`` form is meant).
    """
    name = text.lower().removesuffix(".")
    if not name.isascii():
        raise Invalid("it has letters beyond ASCII (write its xn-- form)")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise Invalid("it is not a host name")
    last = name.rpartition(".")[2]
    # what browsers take for an address, too: https://url.spec.whatwg.org/#ends-in-a-number-checker
    if last.isdecimal() or re.fullmatch(r"0x[0-9a-f]*", last):
        raise Invalid("it is an address, and only names are allowed")
    if last == name:
        raise Invalid("it is a single word")
    if last in _PRIVATE_ENDINGS:
        raise Invalid(f"names below .{last} are not on the internet")
    return name


def read_authority(text: str, *, default_port: int | None = None) -> Target:
    """``HOST:PORT`` of a request. Raises ``Invalid`` for what is no public host name with a port."""
    host, found, port = text.rpartition(":")
    if not found and default_port is not None:
        return Target(host=host_name(text), port=default_port)
    if not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65536):
        raise Invalid("it has no valid port")
    return Target(host=host_name(host), port=int(port))


def check_addresses(host: str, found: Iterable[str]) -> tuple[Address, ...]:
    """The addresses that a name resolved to, when every one of them is public. Raises ``Forbidden`` otherwise."""
    addresses = tuple(ipaddress.ip_address(each) for each in found)
    if not addresses or not all(is_public(each) for each in addresses):
        raise Forbidden(f"{host} leads to an address that is not public.", code="private_address")
    return addresses


def is_public(address: Address) -> bool:
    """Whether it is one machine on the internet, and no private network's, metadata server's or translated address."""
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    return not any(address in network for network in _NOT_PUBLIC if network.version == address.version)
