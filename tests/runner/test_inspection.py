"""The last look before a push, on real git objects: what it stops, what it says, and what is kept of the work."""

from __future__ import annotations

import gzip
import time
from dataclasses import replace

import pytest

from infra.core.diff_policy import DiffPolicy
from infra.core.encodings import ENCODINGS
from infra.core.redaction import MARK, Redactor
from infra.core.secret_scan import Scanner
from runner.collect import collect
from runner.inspection import InspectionLimits, Inspector
from tests.world.git_http import git
from tests.world.git_scene import a_scene

VALUE = "ghs_42_eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJpc3MiOiI0MiJ9.Zm9vYmFy-k_9xQ2"


@pytest.fixture
async def scene(tmp_path):
    async with a_scene(
        tmp_path, {"README.md": "hello\n", "src/app.py": "one\ntwo\nthree\n", "data.bin": "\0\1\2"}
    ) as made:
        await made.clone()
        yield made


def inspector(scene, **more) -> Inspector:
    usual = {"policy": DiffPolicy(), "scanner": Scanner(Redactor([VALUE], patterns=False))}
    return Inspector(git=scene.git, **usual | more)


async def look(scene, **more):
    changes = await collect(scene.git, scene.ws, base_sha=scene.base)
    return await inspector(scene, **more).change(scene.ws, changes)


async def test_ordinary_work_may_be_published(scene):
    (scene.ws.tree / "src" / "app.py").write_text("one\n2\nthree\n")
    (scene.ws.tree / "data.bin").write_bytes(b"\0\3")
    (scene.ws.tree / "README.md").unlink()
    (scene.ws.tree / "link").symlink_to("src/app.py")
    (scene.ws.tree / "empty").write_text("")
    assert await look(scene) is None


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda encoding: encoding.name)
async def test_a_registered_value_stops_it_in_every_encoding(scene, encoding):
    for number, form in enumerate(encoding.forms(VALUE)):
        (scene.ws.tree / "src" / "app.py").write_text(f"one\ntwo\nx = '{form}'\n{number}\n")
        stopped = await look(scene)
        assert stopped.reason.code == "blocked_secret"
        assert "src/app.py:3" in stopped.reason.message
        assert form not in stopped.masked_patch(Redactor([VALUE]).text).decode()


async def test_the_masked_patch_keeps_the_rest_of_the_work(scene):
    (scene.ws.tree / "src" / "app.py").write_text(f"one\nTWO\n{VALUE}\n")
    (scene.ws.tree / "odd.txt").write_bytes(b"caf\xe9\n")
    stopped = await look(scene)
    patch = stopped.masked_patch(Redactor([VALUE]).text)
    assert f"+TWO\n+{MARK}" in patch.decode("latin-1")
    assert b"+caf\xe9\n" in patch
    told = stopped.told(lambda text: text)
    assert "change.patch" in told.hint


async def packed(scene):
    (scene.ws.tree / "a.gz").write_bytes(gzip.compress(VALUE.encode() * 3))


async def named(scene):
    (scene.ws.tree / VALUE).write_text("x")


async def linked(scene):
    (scene.ws.tree / "link").symlink_to(VALUE)


async def in_binary(scene):
    (scene.ws.tree / "data.bin").write_bytes(b"\0" + VALUE.encode())


async def in_folder(scene):
    (scene.ws.tree / VALUE[:30] / VALUE[30:]).mkdir(parents=True)
    (scene.ws.tree / VALUE[:30] / VALUE[30:] / "f").write_text("x")


async def hidden_by_attributes(scene):
    (scene.ws.tree / ".gitattributes").write_text("* -diff -text binary\n")
    (scene.ws.tree / "secret.txt").write_text(VALUE)


@pytest.mark.parametrize("plant", [packed, named, linked, in_binary, in_folder, hidden_by_attributes])
async def test_it_is_found_wherever_it_is(scene, plant):
    await plant(scene)
    stopped = await look(scene)
    assert stopped.reason.code == "blocked_secret"
    mask = Redactor([VALUE]).text
    told = stopped.told(mask)
    assert VALUE[:14] not in told.message + told.hint
    patch = stopped.masked_patch(mask)
    assert VALUE[:14].encode() not in patch
    if plant not in (linked, hidden_by_attributes):
        assert patch == b""  # masking does not reach into names and packed data
        assert "change.patch" not in told.hint


async def test_what_moved_within_its_file_is_no_news(scene):
    (scene.ws.tree / "keys.txt").write_text(f"a\n{VALUE}\nb\n")
    base = await scene.commit()
    (scene.ws.tree / "keys.txt").write_text(f"b\na\n{VALUE}\nc\n")
    changes = await collect(scene.git, scene.ws, base_sha=base)
    assert await inspector(scene).change(scene.ws, changes) is None
    (scene.ws.tree / "copy.txt").write_text(f"{VALUE}\n")
    changes = await collect(scene.git, scene.ws, base_sha=base)
    assert (await inspector(scene).change(scene.ws, changes)).reason.code == "blocked_secret"


async def test_a_deleted_secret_may_go(scene):
    (scene.ws.tree / "keys.txt").write_text(f"{VALUE}\n")
    base = await scene.commit()
    (scene.ws.tree / "keys.txt").unlink()
    changes = await collect(scene.git, scene.ws, base_sha=base)
    assert await inspector(scene).change(scene.ws, changes) is None


async def test_a_protected_path_ends_with_a_patch_that_applies(scene, tmp_path):
    (scene.ws.tree / ".github" / "workflows").mkdir(parents=True)
    (scene.ws.tree / ".github" / "workflows" / "ci.yml").write_text("on: push\n")
    (scene.ws.tree / "data.bin").write_bytes(b"\0\5\6")
    stopped = await look(scene)
    assert stopped.reason.code == "blocked_protected_paths"
    assert ".github/workflows/ci.yml" in stopped.reason.message
    checkout = tmp_path / "checkout"
    git("clone", "-q", str(scene.world.bare("project")), str(checkout), cwd=tmp_path)
    git("apply", "-", cwd=checkout, stdin=stopped.masked_patch(Redactor([VALUE]).text))
    assert (checkout / ".github" / "workflows" / "ci.yml").read_text() == "on: push\n"
    assert (checkout / "data.bin").read_bytes() == b"\0\5\6"


async def test_a_secret_outranks_the_policy(scene):
    (scene.ws.tree / "CODEOWNERS").write_text(f"* @{VALUE}\n")
    assert (await look(scene)).reason.code == "blocked_secret"


async def test_what_cannot_be_searched_is_not_published(scene):
    (scene.ws.tree / "bomb.gz").write_bytes(gzip.compress(bytes(3_000_000)))
    stopped = await look(scene, limits=InspectionLimits(unpacked_bytes=1_000_000))
    assert (stopped.reason.code, stopped.patch) == ("blocked_unchecked", b"")
    assert "bomb.gz" in stopped.reason.message
    stopped = await look(scene, limits=InspectionLimits(read_bytes=1_000))
    assert stopped.reason.code == "blocked_unchecked"


async def test_too_much_is_said_by_the_policy_first(scene):
    (scene.ws.tree / "big.txt").write_text("x y\n" * 30_000)
    stopped = await look(scene, limits=InspectionLimits(read_bytes=1_000))
    assert stopped.reason.code == "blocked_too_large"
    stopped = await look(scene, limits=InspectionLimits(patch_bytes=1_000))
    assert (stopped.reason.code, stopped.patch) == ("blocked_too_large", b"")


async def test_many_files_are_read_in_bounded_batches(scene):
    for number in range(280):
        (scene.ws.tree / f"f{number}").write_text(f"{number}\n" * 6_000 if number < 3 else f"{number}\n")
    (scene.ws.tree / "f7").write_text(f"x\n{VALUE}\n")
    stopped = await look(scene, policy=DiffPolicy(max_lines_added=10**6))
    assert "f7:2" in stopped.reason.message


def test_texts_are_looked_at_too():
    texts = Inspector(git=None, policy=DiffPolicy(), scanner=Scanner(Redactor([VALUE], patterns=False))).texts
    assert texts({"the title": "Fix it", "the description": "As asked.\n"}) is None
    reason = texts({"the title": "Fix it", "the description": f"Used\n{VALUE}"})
    assert reason.code == "blocked_secret"
    assert "the description:2" in reason.message


async def test_an_ordinary_change_costs_little(scene):
    for number in range(10):
        (scene.ws.tree / f"f{number}.py").write_text(f"def f{number}(x):\n    return x + {number}\n" * 100)
    changes = await collect(scene.git, scene.ws, base_sha=scene.base)
    ours = inspector(scene)
    await ours.change(scene.ws, changes)
    started = time.process_time()
    for _ in range(5):
        assert await ours.change(scene.ws, replace(changes)) is None
    assert (time.process_time() - started) / 5 < 0.1
