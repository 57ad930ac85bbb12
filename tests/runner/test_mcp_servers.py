"""A credentialed MCP server outside the agent's box: its tools work, its secret stays, it cannot touch the clone."""

import asyncio
import json
import os
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from mcp import Client

from infra.core.container_tools import ToolRules
from infra.core.encodings import ENCODINGS
from infra.core.mcp_order import McpOrder
from infra.core.redaction import Redactor
from infra.core.timeline import EventType
from infra.core.tool_policy import policy_for
from infra.wire import ModelCredentials
from runner import processes
from runner.agents.claude_code import ClaudeCode
from runner.agents.port import Job
from runner.box_layout import own_python
from runner.broker import Broker
from runner.bubblewrap import BubblewrapSandbox
from runner.egress import Egress
from runner.mcp_servers import McpServers, McpSurroundings
from runner.sandbox import Door, PlainSandbox
from tests.runner.agent_rig import KEY, MODEL, clock
from tests.runner.boxes import needs_boxes
from tests.runner.upstream import Upstream, say, serving, use
from tests.runner.waiting import until

TOKEN = "lin_api_CANARY_7c1b9e44d0f24f6f"
LINEAR = McpOrder(server="linear", secrets={"LINEAR_API_TOKEN": "LINEAR_API_KEY"})
SMALL = Path(__file__).parents[1] / "world" / "mcp_server.py"


def install(folder: Path, text: str | None = None) -> Path:
    """The small server in the place of Linear's."""
    program = folder / "linear" / "bin" / "mcp-linear"
    program.parent.mkdir(parents=True)
    program.write_text(text or f"#!{own_python()[0]}\n{SMALL.read_text()}")
    program.chmod(0o755)
    return folder


class House:
    def __init__(self, place: Path, sandbox) -> None:
        self.place, self.sandbox = place, sandbox
        self.installed = place / "mcp"
        self.redactor = Redactor([TOKEN])
        self.told: list[str] = []
        self.blocked: list[str] = []

    async def tell(self, kind: EventType, data) -> None:
        self.told.append(data["message"])

    async def note(self, sentence: str) -> None:
        self.blocked.append(sentence)

    def servers(self, order: McpOrder = LINEAR, token: str = TOKEN) -> McpServers:
        surroundings = McpSurroundings(
            sandbox=self.sandbox,
            installed=self.installed,
            place=self.place,
            box_id=f"job-{os.urandom(5).hex()}",
            path=os.defpath,
            egress=lambda allowed, socket: Egress(allowed=allowed, blocked=self.note, socket=socket),
            clean=self.redactor.data,
            tell=self.tell,
        )
        values = {"linear": {"LINEAR_API_TOKEN": token}} if token else {}
        return McpServers([order], values, surroundings)


@pytest.fixture
def house(tmp_path):
    tmp_path.chmod(0o711)
    house = House(tmp_path, BubblewrapSandbox(tmp_path / "launchers"))
    install(house.installed)
    return house


async def call(servers: McpServers, tool: str, **arguments) -> str:
    async with Client(servers.running["linear"]) as client:
        result = await client.call_tool(tool, arguments)
    return "\n".join(part.text for part in result.content)


@needs_boxes
async def test_its_tools_work_and_its_answers_hold_no_secret_in_any_form(house):
    async with house.servers() as servers:
        async with Client(servers.running["linear"]) as client:
            tools = {tool.name for tool in (await client.list_tools()).tools}
        assert tools >= {"lookup", "tell_everything"}
        assert "issue 7: the totals are off by one" in await call(servers, "lookup", id=7)
        everything = await call(servers, "tell_everything")
    assert "LINEAR_API_TOKEN" in everything
    assert not [form for encoding in ENCODINGS for form in encoding.forms(TOKEN) if form in everything]
    assert house.told == ["The MCP server linear runs in a box of its own."]


@needs_boxes
async def test_it_cannot_write_the_clone_and_reaches_only_its_hosts(house, tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir(mode=0o777)
    (tree / "README.md").write_text("untouched")
    async with house.servers() as servers:
        written = await call(servers, "write", path=str(tree / "README.md"))
        fetched = await call(servers, "fetch", url="http://evil.example.org/")
        metadata = await call(servers, "fetch", url="http://169.254.169.254/computeMetadata/v1/")
    assert "not written" in written
    assert (tree / "README.md").read_text() == "untouched"
    assert "not fetched" in fetched
    assert "not fetched" in metadata
    assert any("evil.example.org" in sentence for sentence in house.blocked)


@needs_boxes
async def test_a_server_that_dies_is_a_tool_error_and_nothing_is_left_of_it(house):
    async with house.servers() as servers:
        assert "failed" in await call(servers, "die")
        assert "failed" in await call(servers, "lookup", id=1)
    left = [pid for pid in processes.living() if "mcp-linear" in _command(pid)]
    assert left == []


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


@needs_boxes
@pytest.mark.parametrize(
    ("text", "words"),
    [("#!/bin/sh\nexit 1\n", "broke off at its start"), ("#!/bin/sh\nsleep 99\n", "was not ready after")],
)
async def test_a_server_that_does_not_start_is_told_and_the_run_goes_on(tmp_path, monkeypatch, text, words):
    monkeypatch.setattr("runner.mcp_servers.START_SECONDS", 3.0)
    tmp_path.chmod(0o711)
    house = House(tmp_path, BubblewrapSandbox(tmp_path / "launchers"))
    install(house.installed, text)
    async with house.servers() as servers:
        assert servers.running == {}
    assert words in house.told[0]


@needs_boxes
async def test_a_run_that_is_stopped_while_a_server_starts_leaves_nothing_of_it(tmp_path):
    tmp_path.chmod(0o711)
    house = House(tmp_path, BubblewrapSandbox(tmp_path / "launchers"))
    install(house.installed, "#!/bin/sh\nexec sleep 97\n")
    servers = house.servers()
    starting = asyncio.ensure_future(servers.__aenter__())
    await until(lambda: any(_command(pid).startswith("sleep\x0097") for pid in processes.living()))
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert [pid for pid in processes.living() if _command(pid).startswith("sleep\x0097")] == []


async def test_a_secret_is_not_given_to_a_machine_without_walls(tmp_path):
    house = House(tmp_path, PlainSandbox(tmp_path / "launchers"))
    install(house.installed)
    async with house.servers() as servers:
        assert servers.running == {}
    assert "no files, network, processes wall to keep it" in house.told[0]
    assert not (tmp_path / "launchers").exists()


@needs_boxes
async def test_what_is_missing_is_named(house):
    async with house.servers(token="") as servers:
        assert servers.running == {}
    assert "the secret LINEAR_API_KEY is not set any more" in house.told[0]
    house.installed = house.place / "elsewhere"
    async with house.servers() as servers:
        assert servers.running == {}
    assert "not installed on this runner (@tacticlaunch/mcp-linear 1.4.3)" in house.told[1]


# Everything of the machine that the agent can name is searched, byte by byte, for the token in every form.
SEARCH = """
import os, sys, base64
forms = [base64.b64decode(each) for each in %r]
found = []
def look(name, data):
    if any(form in data for form in forms):
        found.append(name)
for pid in filter(str.isdigit, os.listdir("/proc")):
    for part in ("environ", "cmdline", "maps"):
        try: look(f"/proc/{pid}/{part}", open(f"/proc/{pid}/{part}", "rb").read())
        except OSError: pass
for top in ("/run", "/tmp", "/opt", "/etc", "/dev/shm", os.environ["HOME"], os.environ["TMPDIR"], os.getcwd(), %r):
    for place, _, files in os.walk(top):
        for name in files:
            path = os.path.join(place, name)
            if os.path.isfile(path) and os.path.getsize(path) < 20_000_000 and not path.endswith("search.py"):
                try: look(path, open(path, "rb").read())
                except OSError: pass
print("searched", "FOUND" if found else "nothing", found)
"""


@asynccontextmanager
async def broker_for(upstream: Upstream, socket: Path):
    credentials = ModelCredentials(
        mode="api_key", base_url=upstream.url, headers={"x-api-key": KEY}, allowed_models=[MODEL]
    )
    async with Broker(
        credentials=credentials, budget_micros=10**7, clock=clock, entropy=os.urandom, socket=socket
    ) as broker:
        yield broker


@needs_boxes
async def test_the_real_agent_uses_the_tool_and_finds_no_trace_of_the_token(house, tmp_path):
    import base64

    from infra.core.run import Limits

    for name in ("tree", "home", "tmp"):
        (tmp_path / name).mkdir(mode=0o700)
    forms = sorted({form.encode() for encoding in ENCODINGS for form in encoding.forms(TOKEN)})
    packed = [base64.b64encode(form).decode() for form in forms]
    # The agent's own script must not hold what it looks for in any form that counts, so the forms are turned around.
    turned = [each[::-1] for each in packed]
    script = SEARCH.replace("base64.b64decode(each)", "base64.b64decode(each[::-1])") % (turned, str(tmp_path))
    (tmp_path / "tree" / "search.py").write_text(script)
    events = []

    async def sink(kind, data):
        events.append((kind, json.loads(json.dumps(data))))

    async with serving(Upstream()) as upstream, broker_for(upstream, tmp_path / "broker.sock") as broker:
        upstream.play(
            [use("mcp__linear__lookup", id=7)],
            [use("mcp__linear__tell_everything")],
            [use("Bash", command=f"{own_python()[0]} search.py")],
            [use("mcp__linear__write", path=str(tmp_path / "tree" / "by-server"))],
            [use("mcp__github__get_me")],
            [say("Done.")],
        )
        async with house.servers() as servers:
            agent = ClaudeCode(sandbox=house.sandbox, clock=clock, entropy=os.urandom, model_retries=1)
            job = Job(
                id=f"job-{os.urandom(5).hex()}",
                prompt="Look it up.",
                tree=tmp_path / "tree",
                home=tmp_path / "home",
                tmp=tmp_path / "tmp",
                model=MODEL,
                limits=Limits(budget_micros=10**7, wall_seconds=90, idle_seconds=60, max_turns=20),
                model_access=broker,
                doors=(Door(port=broker.port, socket=broker.socket),),
                mcp_servers=servers.running,
                tool_policy=policy_for(ToolRules(), tuple(servers.running)),
            )
            result = await agent.run(job, sink)
    assert result.ok, result
    said = [data["text"] for kind, data in events if kind is EventType.TOOL_RESULT]
    assert "the totals are off by one" in said[0]
    assert "searched nothing []" in said[2], said[2]
    assert "not written" in said[3]
    assert not (tmp_path / "tree" / "by-server").exists()
    uses = [(data["name"], data["decision"]) for kind, data in events if kind is EventType.TOOL_USE]
    assert uses[0] == ("mcp__linear__lookup", "allow")
    assert uses[4] == ("mcp__github__get_me", "deny")
    sent = b"".join(json.dumps(heard.body).encode() for heard in upstream.heard)
    for form in forms:
        assert form not in sent
        assert form.decode() not in json.dumps(events)
