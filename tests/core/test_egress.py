"""Which hosts and addresses an agent may reach: the rules alone."""

import ipaddress
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.core.egress import (
    MAX_ENTRIES,
    PRESETS,
    AllowList,
    check_addresses,
    host_name,
    is_public,
    parse_allow_list,
    read_authority,
)
from infra.core.errors import Forbidden, Invalid

# Ways to write an address or to smuggle one, collected from what is published about server-side request forgery.
NO_NAMES = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "0",
    "0.0.0.0",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0x7F.1",
    "017700000001",
    "0177.0.0.1",
    "127.0.0.1.",
    "0x",
    "example.0x7f",
    "example.1",
    "169.254.169.254",
    "2852039166",
    "0xA9FEA9FE",
    "0251.0376.0251.0376",
    "169.254.43518",
    "425.510.425.510",
    "[::1]",
    "::1",
    "[::ffff:169.254.169.254]",
    "[fd00:ec2::254]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "fe80::1%eth0",
    "①②⑦.⓪.⓪.①",
    "１２７.0.0.1",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "metadata",
    "metadata.google.internal",
    "metadata.google.internal.",
    "METADATA.GOOGLE.INTERNAL",
    "instance-data.ec2.internal",
    "printer.local",
    "router.lan",
    "a.localhost",
    "server.corp",
    "1.0.0.127.in-addr.arpa",
    "hidden.onion",
    "",
    ".",
    "..",
    "a..example.org",
    ".example.org",
    "example.org..",
    "-a.example.org",
    "a-.example.org",
    "exa mple.org",
    "example.org/path",
    "example.org#x",
    "example.org?x",
    "user@example.org",
    "http://example.org",
    "example.org\\@evil.example.net",
    "example.org\n",
    "example.org\x00.evil.net",
    "example.org%00",
    "exämple.org",
    "example。org",
    "*.example.org",
    "*",
    "a" * 64 + ".example.org",
    ".".join(["a" * 60] * 5),
]

NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
    "::ffff:0:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("text", NO_NAMES)
def test_addresses_in_every_notation_and_private_names_are_no_host_names(text):
    with pytest.raises(Invalid):
        host_name(text)
    with pytest.raises(Invalid):
        read_authority(f"{text}:443")
    if text != "*.example.org":
        with pytest.raises(Invalid, match="allowed domain"):
            parse_allow_list([text])


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_private_and_special_addresses_are_not_public(text):
    assert not is_public(ipaddress.ip_address(text))
    with pytest.raises(Forbidden, match="not public"):
        check_addresses("example.org", ["93.184.215.14", text])


@pytest.mark.parametrize(
    "text", ["8.8.8.8", "1.1.1.1", "93.184.215.14", "140.82.121.3", "2606:4700::1111", "2a00:1450::1"]
)
def test_addresses_of_the_internet_are_public(text):
    assert check_addresses("example.org", [text]) == (ipaddress.ip_address(text),)


def test_a_name_that_leads_nowhere_is_refused():
    with pytest.raises(Forbidden):
        check_addresses("example.org", [])


def test_a_host_is_that_host_and_a_wildcard_all_below():
    allowed = parse_allow_list(["example.org", "*.Example.NET."])
    for host in ("example.org", "a.example.net", "a.b.example.net"):
        assert allowed.permits(host)
    for look_alike in (
        "www.example.org",
        "example.net",
        "badexample.net",
        "aexample.org",
        "example.org.evil.com",
        "example.net.evil.com",
        "a.example.net.evil.com",
        "example.or",
        "xample.org",
        "example-org.com",
        "a.example.network",
    ):
        assert not allowed.permits(look_alike), look_alike


def test_presets_stand_for_hosts_and_mix_with_names():
    allowed = parse_allow_list(["python", "example.org", "none"])
    assert allowed.permits("pypi.org")
    assert allowed.permits("files.pythonhosted.org")
    assert allowed.permits("example.org")
    assert not allowed.permits("registry.npmjs.org")
    assert not parse_allow_list(["none"])
    assert not parse_allow_list([])
    for hosts in PRESETS.values():
        assert all(host_name(host) == host for host in hosts)


@pytest.mark.parametrize(
    "entry",
    [
        "*",
        "*.com",
        "*.*.org",
        "a.*.org",
        "*example.org",
        "pythn",
        "https://example.org",
        "example.org:443",
        "10.0.0.0/8",
    ],
)
def test_an_entry_that_does_not_fit_is_named_with_what_would(entry):
    with pytest.raises(Invalid) as refused:
        parse_allow_list(["example.org", entry])
    assert repr(entry) in refused.value.message
    assert "*.example.org" in refused.value.hint
    assert "python" in refused.value.hint


def test_a_list_has_an_end():
    assert parse_allow_list(f"h{number}.example.org" for number in range(MAX_ENTRIES))
    with pytest.raises(Invalid, match="at most"):
        parse_allow_list(f"h{number}.example.org" for number in range(MAX_ENTRIES + 1))


@pytest.mark.parametrize(
    "text",
    [
        "example.org",
        "example.org:",
        "example.org:0",
        "example.org:65536",
        "example.org:+443",
        "example.org:４４３",
        "example.org:443:443",
        ":443",
    ],
)
def test_an_authority_needs_a_host_and_a_port(text):
    with pytest.raises(Invalid):
        read_authority(text)


def test_an_authority_is_read_in_its_one_spelling():
    assert read_authority("EXAMPLE.org.:443") == read_authority("example.org:443")
    assert read_authority("example.org", default_port=80).port == 80


NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9](\.[a-z][a-z0-9]{1,6}){1,3}", fullmatch=True)


@given(NAMES, NAMES)
def test_a_list_of_one_host_permits_that_host_only(listed, asked):
    try:
        allowed = parse_allow_list([listed])
    except Invalid:
        return
    assert allowed.permits(listed)
    assert allowed.permits(asked) == (listed == asked)


@given(st.text(max_size=40))
def test_whatever_is_written_is_a_plain_name_or_refused(text):
    try:
        name = host_name(text)
    except Invalid:
        return
    assert set(name) <= set(string.ascii_lowercase + string.digits + "-_.")
    assert host_name(name) == name
    with pytest.raises(ValueError, match="does not appear"):
        ipaddress.ip_address(name)


@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_address_in_ipv6_clothes_is_never_public(number):
    inner = ipaddress.IPv4Address(number)
    packed = inner.packed
    for prefix in (bytes(10) + b"\xff\xff", bytes(12), bytes.fromhex("0064ff9b") + bytes(8)):
        assert not is_public(ipaddress.IPv6Address(prefix + packed))
    assert not is_public(ipaddress.IPv6Address(b"\x20\x02" + packed + bytes(10)))


def test_an_empty_list_permits_nothing():
    assert not AllowList().permits("example.org")
