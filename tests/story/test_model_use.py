"""The model as a run uses it, in the whole product: what was spent behind the agent's back, and a key that is wrong."""

import asyncio
import json

import pytest

from tests.world import model
from tests.world.stack import Up

SCRIPT = """
about = "Asks the model once more, past the agent, and leaves a note."
match = "Ask on the side"

[[turns]]
text = "I ask on the side."
tools = [{ name = "Bash", input = { command = '''
python3 - <<'END'
import json, os, urllib.request
body = {"model": "claude-opus-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "What is the time?"}]}
request = urllib.request.Request(os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages", json.dumps(body).encode(),
                                 {"x-api-key": os.environ["ANTHROPIC_API_KEY"], "content-type": "application/json"})
print(urllib.request.urlopen(request, timeout=20).read())
body["messages"][0]["content"] = [{"type": "image", "source": {"type": "url", "url": "http://evil.example/?"}}]
request.data = json.dumps(body).encode()
try:
    urllib.request.urlopen(request, timeout=20)
except urllib.error.HTTPError as refused:
    print(refused.code, refused.read())
END
echo note > note.txt
''' } }]

[[turns]]
text = "Asked."
"""


async def test_what_was_asked_behind_the_agents_back_is_charged_and_shown(tmp_path):
    def story(model_url):
        with Up(tmp_path, ANTHROPIC_BASE_URL=model_url, ANTHROPIC_API_KEY=model.KEY) as up:
            run = up.run(up.dispatch(context="Ask on the side").json()["run_id"])
            assert run["status"] == "succeeded", run
            events = up.http.get(f"/api/runs/{run['id']}/events", headers={"accept": "application/json"}).text
            ledger = up.http.get(f"/api/runs/{run['id']}/artifacts/ledger.jsonl").text
            return run, events, [json.loads(line) for line in ledger.splitlines()]

    async with model.scripted_model(model.scripts(side=SCRIPT)) as serving:
        run, events, ledger = await asyncio.to_thread(story, serving.url)
    assert sum(line["cost_micros"] for line in ledger) == round(run["cost_usd"] * 1_000_000)
    assert len(ledger) == run["turns"] == 3
    assert run["discrepancy"]["tokens"]["output"] > 0
    assert run["discrepancy"]["cost_usd"] > 0
    assert "usage_discrepancy" in events
    assert "blocked: A source of type 'url' is not available in this run" in events
    assert "blocked_model_use" in events


@pytest.mark.full
async def test_a_wrong_key_ends_the_run_with_the_servers_own_words(tmp_path):
    def story(model_url):
        with Up(tmp_path, ANTHROPIC_BASE_URL=model_url, ANTHROPIC_API_KEY="sk-ant-mistyped") as up:
            run = up.dispatch(context="Ask on the side").json()
            return run, up.http.get(f"/api/runs/{run['run_id']}/artifacts/ledger.jsonl").text

    async with model.scripted_model(model.scripts(side=SCRIPT)) as serving:
        run, ledger = await asyncio.to_thread(story, serving.url)
    assert run["status"] == "failed"
    assert "401 invalid x-api-key" in run["error"]["message"]
    for check in ("log", "credential", "permissions"):
        assert check in run["error"]["hint"]
    assert "ANTHROPIC_API_KEY" in run["error"]["hint"]
    assert run["duration_seconds"] < 50  # the dispatch call itself waits that long; it was answered with the end
    assert [json.loads(line)["status"] for line in ledger.splitlines()] == [401, 401, 401]
    assert "sk-ant-mistyped" not in json.dumps(run) + ledger


LONG = "word " * 900
TURNS = "\n".join(
    f'[[turns]]\ntext = "{LONG}"\ntools = [{{ name = "Bash", input = {{ command = "echo {number} >> note.txt" }} }}]\n'
    for number in range(8)
)
TALKATIVE = f'about = "Talks at length."\nmatch = "Talk at length"\n\n{TURNS}\n[[turns]]\ntext = "Done."\n'


async def test_the_agent_is_told_to_wrap_up_and_people_see_it(tmp_path):
    def story(model_url):
        settings = {"ANTHROPIC_BASE_URL": model_url, "ANTHROPIC_API_KEY": model.KEY, "RUN_BUDGET_USD": "0.26"}
        with Up(tmp_path, **settings) as up:
            run = up.dispatch(context="Talk at length").json()
            return run, up.http.get(f"/api/runs/{run['run_id']}/events", headers={"accept": "application/json"}).text

    async with model.scripted_model(model.scripts(talk=TALKATIVE)) as serving:
        run, events = await asyncio.to_thread(story, serving.url)
        asked = json.dumps([call.body for call in serving.calls])
    assert "80 % of this run's budget is used. Wrap up" in events
    assert "budget_notice" in events
    assert "80 % of this run's budget is used. Wrap up" in asked
    assert run["cost_usd"] < 0.27  # cut in the chunk that went over it, if at all


HANGING = """
about = "Starts something long."
match = "Take your time"

[[turns]]
text = "I wait."
tools = [{ name = "Bash", input = { command = "python3 -c 'import time; time.sleep(300)'" } }]
"""


@pytest.mark.full
async def test_a_cancelled_run_keeps_its_ledger_too(tmp_path):
    def story(model_url):
        with Up(tmp_path, ANTHROPIC_BASE_URL=model_url, ANTHROPIC_API_KEY=model.KEY, HEARTBEAT_SECONDS="0.4") as up:
            run_id = up.dispatch(context="Take your time", prefer="respond-async").json()["run_id"]
            up.until(run_id, lambda run: run["turns"])
            up.http.post(f"/api/runs/{run_id}/cancel").raise_for_status()
            run = up.ended(run_id)
            return run, up.http.get(f"/api/runs/{run_id}/artifacts/ledger.jsonl").raise_for_status().text

    async with model.scripted_model(model.scripts(hang=HANGING)) as serving:
        run, ledger = await asyncio.to_thread(story, serving.url)
    assert run["status"] == "cancelled"
    lines = [json.loads(line) for line in ledger.splitlines()]
    assert sum(line["cost_micros"] for line in lines) == round(run["cost_usd"] * 1_000_000) > 0
