"""Texts of recorded answers, changed whatever pieces they came in."""

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from infra.core.redaction import MARK, Redactor
from runner.answer_text import Masking, Moving, rewritten
from tests.runner.upstream import USAGE, event, stream_events

SECRET = "correct-horse-battery-staple-42"
OLD, NEW = "/tmp/work/runs/run-1.abc/tree", "/srv/x/runs/run-2.defghi/tree"


def cut(text, places):
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[low:high] for low, high in itertools.pairwise(edges)] or [""]


def answer(kind, pieces):
    """An answer of one block whose deltas are these pieces."""
    field = {"text": "text", "tool": "partial_json"}[kind]
    opening = (
        {"type": "text", "text": ""} if kind == "text" else {"type": "tool_use", "id": "t", "name": "Bash", "input": {}}
    )
    deltas = [event("content_block_delta", index=0, delta={"type": f"{field}_delta", field: piece}) for piece in pieces]
    first, *_, usage, last = stream_events([], model="m", usage=USAGE)
    return [first, event("content_block_start", index=0, content_block=opening), *deltas, usage, last]


def said(chunks, field):
    data = [json.loads(line[6:]) for line in b"".join(chunks).splitlines() if line.startswith(b"data: ")]
    return [part["delta"][field] for part in data if part["type"] == "content_block_delta"]


@given(st.lists(st.integers(0, 200), max_size=12))
def test_a_secret_is_masked_whatever_deltas_it_is_cut_into(places):
    pieces = cut(f"The password is {SECRET}, keep it.", places)
    after = rewritten(answer("text", pieces), Masking(Redactor([SECRET])), stream=True)
    assert "".join(said(after, "text")) == f"The password is {MARK}, keep it."
    assert len(said(after, "text")) == len(pieces)


@given(st.lists(st.integers(0, 200), max_size=12))
def test_masked_arguments_of_a_tool_stay_json(places):
    arguments = {
        "command": f'echo "{SECRET}"',
        "pem": "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ",
        "n": 1,
    }
    pieces = cut(json.dumps(arguments), places)
    after = rewritten(answer("tool", pieces), Masking(Redactor([SECRET])), stream=True)
    told = json.loads("".join(said(after, "partial_json")))
    assert SECRET not in json.dumps(told)
    assert "MIIEvQ" not in json.dumps(told)
    assert told["n"] == 1


@given(st.lists(st.integers(0, 300), max_size=12), st.sampled_from(["text", "tool"]))
def test_paths_are_moved_whatever_deltas_they_are_cut_into(places, kind):
    whole = (
        f"{OLD}/a.py and {OLD} again" if kind == "text" else json.dumps({"file_path": f"{OLD}/a.py", "content": OLD})
    )
    pieces = cut(whole, places)
    after = rewritten(answer(kind, pieces), Moving({OLD: NEW}), stream=True)
    field = "text" if kind == "text" else "partial_json"
    joined = "".join(said(after, field))
    assert (
        joined == whole.replace(OLD, NEW)
        if kind == "text"
        else json.loads(joined) == json.loads(whole.replace(OLD, NEW))
    )
    assert len(said(after, field)) == len(pieces)


@given(st.lists(st.integers(0, 2_000), max_size=8), st.text(max_size=60))
def test_what_does_not_change_keeps_its_bytes_and_borders(places, text):
    whole = b"".join(answer("text", [text, "[REDA", "CTED"]))
    edges = sorted({0, len(whole), *(place % len(whole) for place in places)})
    chunks = [whole[low:high] for low, high in itertools.pairwise(edges)]
    assert rewritten(chunks, Masking(Redactor([SECRET])), stream=True) == chunks
    assert rewritten(chunks, Moving({OLD: NEW}), stream=True) == chunks


@given(st.lists(st.binary(max_size=80), max_size=6), st.booleans())
def test_any_bytes_are_survived(chunks, stream):
    for rewriter in (Masking(Redactor([SECRET])), Moving({OLD: NEW})):
        rewritten(chunks, rewriter, stream=stream)


def test_a_whole_document_and_an_error_are_changed_too():
    document = json.dumps({"error": {"message": f"no such {SECRET}"}}).encode()
    assert json.loads(b"".join(rewritten([document], Masking(Redactor([SECRET])), stream=False))) == {
        "error": {"message": f"no such {MARK}"}
    }
    assert rewritten([b"plain ", SECRET.encode()], Masking(Redactor([SECRET])), stream=False) == [
        f"plain {MARK}".encode()
    ]
