"""The real Claude Code CLI and its way to the model: a credential that is refused, and Vertex AI behind the plain API."""

import os
import time

import pytest

from infra.wire import ModelCredentials
from runner.agents.claude_code import ClaudeCode, preload
from runner.agents.port import Failure
from runner.broker import Broker
from runner.model_server import MODE_ENVIRONMENT
from tests.runner.agent_rig import MODEL, clock, rig_in
from tests.runner.upstream import failure, say, stream_events, streaming, use


@pytest.fixture(scope="module", autouse=True)
def sdk():
    preload()


async def test_a_credential_that_is_refused_ends_the_run_at_once_with_the_servers_words(tmp_path):
    async with rig_in(tmp_path) as rig:
        rig.agent = ClaudeCode(sandbox=rig.sandbox, clock=clock, entropy=os.urandom)  # as many retries as in a real run
        rig.upstream.answer = lambda _: failure(401, "authentication_error", "invalid x-api-key")
        started = time.monotonic()
        result = await rig.run()
        assert result.failure is Failure.MODEL
        assert "401 invalid x-api-key" in result.message
        assert "ANTHROPIC_API_KEY" in result.hint
        assert result.model_status == 401
        assert len(rig.upstream.heard) == 3
        assert time.monotonic() - started < 60  # by itself, Claude Code tries for three minutes
        assert rig.processes() == set()


async def test_the_agent_works_over_vertex_and_knows_nothing_of_it(tmp_path):
    async with rig_in(tmp_path) as rig:
        credentials = ModelCredentials(
            mode="vertex",
            base_url=f"{rig.upstream.url}/v1",
            headers={"authorization": "Bearer ya29.the-real-token"},
            allowed_models=[MODEL],
            project="my-project",
            region="global",
        )

        def answer(asked):
            said = sum(message["role"] == "assistant" for message in asked["messages"])
            turns = [[use("Bash", command="env; echo hi > made.txt")], [say("Made it.")]]
            events = stream_events(turns[min(said, 1)], model=MODEL, usage=rig.upstream.usage, tag=str(said))
            return streaming(events)

        rig.upstream.answer = answer
        async with Broker(credentials=credentials, budget_micros=10**7, clock=clock, entropy=os.urandom) as broker:
            result = await rig.run(rig.job(model_access=broker, environment=MODE_ENVIRONMENT["vertex"]))
    assert result.summary == "Made it."
    assert (rig.tree / "made.txt").exists()
    assert {heard.path for heard in rig.upstream.heard} == {
        f"/v1/projects/my-project/locations/global/publishers/anthropic/models/{MODEL}:streamRawPredict"
    }
    assert "anthropic_version" in rig.upstream.heard[0].body
    assert "ya29" not in rig.output()
    assert "my-project" not in rig.output()
    assert broker.usage.turns == 2
