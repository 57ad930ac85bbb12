"""The egress proxy over real sockets; only where names lead is the test's to decide, since nothing may leave this machine."""

import asyncio
import os
import shutil
import ssl
import statistics
import sys
import time
from contextlib import asynccontextmanager

import httpx
import pytest

from infra.core.egress import parse_allow_list
from runner.bubblewrap import BubblewrapSandbox
from runner.egress import Egress, EgressLimits, system_resolver
from runner.sandbox import Door
from tests.runner.boxes import box_in, needs_boxes, run_in

PYTHON = os.path.realpath(sys.executable)
PUBLIC, OTHER_PUBLIC = "93.184.215.14", "2606:2800:21f::1"


class Internet:
    """Names and addresses as the proxy sees them; every address that it dials is one server here."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.names = {"example.org": [PUBLIC], "www.example.net": [PUBLIC]}
        self.resolved: list[str] = []
        self.dialled: list[tuple[str, int]] = []
        self.dead: set[str] = set()

    async def resolve(self, host, port):
        self.resolved.append(host)
        found = self.names.get(host)
        if found is None:
            raise OSError("unknown name")
        if found and isinstance(found[0], list):  # a name that changes its mind
            return found.pop(0)
        return found

    async def dial(self, address, port):
        self.dialled.append((address, port))
        if address in self.dead:
            raise ConnectionRefusedError
        return await asyncio.open_connection("127.0.0.1", self.port)


class World:
    def __init__(self, internet: Internet, egress: Egress, blocked: list[str], heard: list[bytes]) -> None:
        self.internet, self.egress, self.blocked, self.heard = internet, egress, blocked, heard

    async def speak(self, data: bytes, *, end: bool = False) -> bytes:
        """Says ``data`` to the proxy and reads until it closes or has nothing more to say."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.egress.port)
        try:
            writer.write(data)
            if end:
                writer.write_eof()
            async with asyncio.timeout(5):
                return await reader.read()
        finally:
            writer.close()

    async def connect(self, target: str) -> bytes:
        return await self.speak(f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n".encode(), end=True)


@asynccontextmanager
async def world(*allowed: str, server=None, **more):
    heard: list[bytes] = []
    blocked: list[str] = []

    async def serve(reader, writer):
        """Says what it heard, then hello."""
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello")
        writer.close()

    async def tell(sentence):
        blocked.append(sentence)

    serving: set[asyncio.Task] = set()

    async def accepted(reader, writer):
        serving.add(asyncio.current_task())
        try:
            await (server or serve)(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(accepted, "127.0.0.1", 0)
    internet = Internet(listener.sockets[0].getsockname()[1])
    async with Egress(
        allowed=parse_allow_list(allowed), blocked=tell, resolve=internet.resolve, dial=internet.dial, **more
    ) as egress:
        yield World(internet, egress, blocked, heard)
    listener.close()
    await asyncio.gather(*serving)
    await asyncio.sleep(0)


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write(b"<end>")
    writer.close()


async def test_a_listed_host_can_be_tunnelled_to():
    async with world("example.org", server=echo) as here:
        answer = await here.speak(b"CONNECT example.org:443 HTTP/1.1\r\nhost: x\r\n\r\nearly bytes", end=True)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert body == b"early bytes<end>"
    assert here.internet.dialled == [(PUBLIC, 443)]
    assert here.blocked == []


async def test_a_plain_page_is_fetched_with_nothing_of_the_proxys_own():
    async with world("example.org") as here:
        async with httpx.AsyncClient(proxy=f"http://127.0.0.1:{here.egress.port}") as client:
            answer = await client.get(
                "http://example.org/a?b=c", headers={"proxy-authorization": "secret", "x-own": "1"}
            )
        assert answer.text == "hello"
        (asked,) = here.heard
    assert asked.startswith(b"GET /a?b=c HTTP/1.1\r\nhost: example.org\r\n")
    assert b"proxy-" not in asked.lower()
    assert b"x-own: 1" in asked
    assert here.internet.dialled == [(PUBLIC, 80)]


async def test_a_host_that_is_not_listed_is_refused_and_told_once():
    async with world("example.org", "*.example.net") as here:
        for target in (
            "evil.com:443",
            "EVIL.com.:443",
            "example.net:443",
            "badexample.net:443",
            "example.org.evil.com:443",
        ):
            assert (await here.connect(target)).startswith(b"HTTP/1.1 403")
        assert (await here.speak(b"GET http://evil.com/ HTTP/1.1\r\nhost: example.org\r\n\r\n")).startswith(
            b"HTTP/1.1 403"
        )
    assert here.blocked[0] == "blocked: evil.com – add it to allowedDomains to permit"
    assert here.blocked.count(here.blocked[0]) == 1
    assert here.internet.resolved == []  # not even a question about it leaves
    assert here.internet.dialled == []


@pytest.mark.parametrize(
    "target",
    [
        "127.0.0.1:443", "127.1:443", "2130706433:443", "0x7f000001:443", "017700000001:443", "[::1]:443", "[::ffff:127.0.0.1]:443",
        "169.254.169.254:443", "2852039166:443", "0xA9FEA9FE:443", "0251.0376.0251.0376:443", "[fd00:ec2::254]:443", "localhost:443",
        "metadata.google.internal:443", "metadata:443", "example.org", "example.org:", "example.org:0443x", ":443", "http://example.org:443",
        "example.org@127.0.0.1:443",
    ],
)  # fmt: skip
async def test_addresses_and_private_names_are_refused_in_every_notation(target):
    async with world("example.org") as here:
        answer = await here.connect(target)
        assert answer.startswith((b"HTTP/1.1 403", b"HTTP/1.1 400")), answer
        url = f"GET http://{target.removesuffix(':443')}/ HTTP/1.1\r\nhost: x\r\n\r\n".encode()
        if "example.org" not in target:
            assert (await here.speak(url)).startswith((b"HTTP/1.1 403", b"HTTP/1.1 400"))
    assert here.internet.dialled == []


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["169.254.169.254"], ["10.0.0.1"], ["::1"], ["::ffff:169.254.169.254"], ["fd00:ec2::254"], ["100.64.0.1"],
     ["168.63.129.16"], ["64:ff9b::a9fe:a9fe"], ["0.0.0.0"], ["224.0.0.1"], [PUBLIC, "127.0.0.1"], ["fe80::1%lo"], []],
)  # fmt: skip
async def test_a_listed_name_that_leads_to_a_private_address_leads_nowhere(addresses):
    async with world("example.org") as here:
        here.internet.names["example.org"] = addresses
        assert (await here.connect("example.org:443")).startswith(b"HTTP/1.1 403")
    assert here.internet.dialled == []
    assert here.blocked == ["blocked: example.org – example.org leads to an address that is not public."]


async def test_a_name_that_changes_its_mind_gains_nothing():
    """DNS rebinding: the first answer is public, every later one is the metadata server."""
    async with world("example.org", server=echo) as here:
        here.internet.names["example.org"] = [[PUBLIC], ["169.254.169.254"], ["127.0.0.1"]]
        assert (await here.connect("example.org:443")).startswith(b"HTTP/1.1 200")
        assert (await here.connect("example.org:443")).startswith(b"HTTP/1.1 403")
    assert len(here.internet.resolved) == 2  # once for each request: what was checked is what is dialled
    assert here.internet.dialled == [(PUBLIC, 443)]


async def test_the_next_address_is_tried_when_one_is_dead():
    async with world("example.org", server=echo) as here:
        here.internet.names["example.org"] = [OTHER_PUBLIC, PUBLIC]
        here.internet.dead = {OTHER_PUBLIC}
        assert (await here.connect("example.org:443")).startswith(b"HTTP/1.1 200")
        here.internet.dead = {OTHER_PUBLIC, PUBLIC}
        assert (await here.connect("example.org:443")).startswith(b"HTTP/1.1 502")


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"CONNECT example.org:22 HTTP/1.1", 403),
        (b"CONNECT example.org:80 HTTP/1.1", 403),
        (b"CONNECT example.org:25 HTTP/1.1", 403),
        (b"GET http://example.org:8080/ HTTP/1.1", 403),
        (b"GET http://example.org:443/ HTTP/1.1", 403),
        (b"GET https://example.org/ HTTP/1.1", 403),
        (b"GET ftp://example.org/ HTTP/1.1", 403),
        (b"GET file:///etc/passwd HTTP/1.1", 403),
        (b"GET / HTTP/1.1", 403),
        (b"POST http://example.org/ HTTP/1.1", 403),
        (b"PUT http://example.org/ HTTP/1.1", 403),
        (b"DELETE http://example.org/ HTTP/1.1", 403),
        (b"GET http://user:password@example.org/ HTTP/1.1", 403),
        (b"OPTIONS * HTTP/1.1", 403),
        (b"GET http://[::1 HTTP/1.1", 403),
        (b"nonsense", 400),
        (b"GET  http://example.org/ HTTP/1.1", 400),
        (b"GET http://example.org/ HTTP/x", 400),
    ],
)
async def test_other_ports_schemes_and_methods_are_refused(request_line, status):
    async with world("example.org") as here:
        answer = await here.speak(request_line + b"\r\nhost: example.org\r\n\r\n")
    assert answer.split()[1] == str(status).encode(), answer
    assert here.internet.dialled == []


async def test_a_second_request_in_the_same_bytes_is_not_forwarded():
    async with world("example.org") as here:
        smuggled = b"GET http://example.org/ HTTP/1.1\r\nhost: example.org\r\ncontent-length: 3\r\n\r\nabcGET http://evil.com/ HTTP/1.1\r\n\r\n"
        await here.speak(smuggled)
    (asked,) = here.heard
    assert b"evil" not in asked
    assert b"abc" not in asked


async def test_headers_have_a_limit_and_an_end():
    limits = EgressLimits(header_bytes=2000, header_seconds=0.2)
    async with world("example.org", limits=limits) as here:
        huge = b"GET http://example.org/ HTTP/1.1\r\nx: " + b"y" * 5000
        assert (await here.speak(huge)).startswith(b"HTTP/1.1 400")
        assert await here.speak(b"GET http://example.org/") == b""  # never finished, and hung up on


async def test_connections_silence_and_bytes_have_a_limit():
    limits = EgressLimits(connections=2, idle_seconds=0.2, bytes_out=100_000, bytes_in=200_000)
    async with world("example.org", server=echo, limits=limits) as here:
        request = b"CONNECT example.org:443 HTTP/1.1\r\nhost: x\r\n\r\n"
        held = [await asyncio.open_connection("127.0.0.1", here.egress.port) for _ in range(2)]
        for reader, writer in held:
            writer.write(request)
            assert b"200" in await reader.readline()
        assert (await here.speak(request)).startswith(b"HTTP/1.1 429")
        for reader, _ in held:
            await asyncio.wait_for(reader.read(), 5)  # silent for too long
        for _, writer in held:
            writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", here.egress.port)
        writer.write(request + b"x" * 150_000)
        received = b""
        try:
            while part := await asyncio.wait_for(reader.read(65536), 5):
                received += part
        except ConnectionError:
            pass  # cut, with something still on its way
        writer.close()
        assert received.count(b"x") <= 100_000


async def test_closing_ends_what_is_open():
    async with world("example.org", server=echo) as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.egress.port)
        writer.write(b"CONNECT example.org:443 HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"200" in await reader.readline()
    await asyncio.wait_for(reader.read(), 5)
    writer.close()


async def test_tls_passes_untouched(tmp_path):
    """The proxy sees names only: what is inside is between the program and the host."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make_certificate(key, certificate)
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(certificate, key)

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nsecret")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=serving)
    trusting = ssl.create_default_context(cafile=str(certificate))
    async with world("example.org") as here:
        here.internet.port = server.sockets[0].getsockname()[1]
        async with httpx.AsyncClient(proxy=f"http://127.0.0.1:{here.egress.port}", verify=trusting) as client:
            assert (await client.get("https://example.org/")).text == "secret"
    server.close()


def make_certificate(key_file, certificate_file):
    import datetime as dt

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "example.org")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("example.org")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    certificate_file.write_bytes(certificate.public_bytes(pem))
    key_file.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


async def test_the_machines_own_resolver_answers_with_addresses():
    assert set(await system_resolver("localhost", 80)) <= {"127.0.0.1", "::1"}


@needs_boxes
async def test_from_inside_a_box_the_proxy_is_the_only_way_out(tmp_path):
    async with world("example.org", socket=tmp_path / "egress.sock") as here:
        environment = {"PATH": os.defpath, **here.egress.environment()}
        door = Door(port=here.egress.port, socket=here.egress.socket)
        box = box_in(tmp_path, environment=environment, doors=(door,))
        script = (
            "import urllib.request as r\n"
            "print(r.urlopen('http://example.org/', timeout=5).read().decode())\n"
            "for url in ('http://evil.com/', 'https://evil.com/', 'http://169.254.169.254/', 'http://2852039166/'):\n"
            "    try:\n        print('FOUND', r.urlopen(url, timeout=5).read())\n"
            "    except OSError as error:\n        print(error)\n"
        )
        told = await run_in(BubblewrapSandbox(tmp_path / "launchers"), box, f'exec {PYTHON} -I -c "$1"', script)
    assert told.splitlines()[0] == "hello"
    assert "FOUND" not in told
    assert told.count("403") == 4
    assert "blocked: evil.com – add it to allowedDomains to permit" in here.blocked
    assert here.internet.dialled == [(PUBLIC, 80)]


@needs_boxes
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl_inside_a_box_uses_the_proxy(tmp_path):
    async with world("example.org", socket=tmp_path / "egress.sock") as here:
        door = Door(port=here.egress.port, socket=here.egress.socket)
        environment = {"PATH": os.defpath, **here.egress.environment()}
        box = box_in(tmp_path, environment=environment, doors=(door,))
        told = await run_in(
            BubblewrapSandbox(tmp_path / "launchers"),
            box,
            "curl -s http://example.org/; echo; curl -s http://evil.com/",
        )
    assert told.splitlines()[0] == "hello"
    assert "blocked: evil.com" in told


async def test_a_tunnel_adds_little_delay():
    async with world("example.org", server=echo) as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.egress.port)
        writer.write(b"CONNECT example.org:443 HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        times = []
        for _ in range(200):
            began = time.perf_counter()
            writer.write(b"x" * 1000)
            await reader.readexactly(1000)
            times.append(time.perf_counter() - began)
        writer.close()
    assert statistics.median(times) < 0.005
