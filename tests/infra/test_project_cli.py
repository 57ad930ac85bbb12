"""``pullwright validate`` and ``pullwright secret``, as programs."""

import asyncio
import os

from infra.core.project_secrets import stored_name
from infra.core.repository import Repository
from infra.local.secrets import FileSecrets
from tests.world.cli import pullwright


def test_validate_prints_each_finding_with_its_place(tmp_path):
    (tmp_path / "c.yaml").write_text("budget: five dollars\nmodel: gpt-7\nbaseImage: node:22\n")
    done = pullwright("validate", "c.yaml", "--models", "opus, haiku", cwd=tmp_path)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0].startswith("c.yaml:1:9 budget: five dollars is no amount")
    assert lines[1].startswith("c.yaml:2:8 model: ")
    assert lines[2].startswith("warning: c.yaml:3:12 baseImage: ")
    (tmp_path / "c.yaml").write_text("a: [\n")
    broken = pullwright("validate", "c.yaml", cwd=tmp_path)
    assert (broken.returncode, broken.stderr.startswith("c.yaml:2:1 This is not YAML")) == (1, True)
    (tmp_path / "c.yaml").write_text("budget: 5\n")
    assert pullwright("validate", "c.yaml", cwd=tmp_path).stdout == "c.yaml: fine\n"


def test_a_secret_is_read_from_standard_input_and_kept_under_its_project(tmp_path):
    done = pullwright("secret", "set", "Acme/Shop", "TOKEN", "--data", "d", cwd=tmp_path, stdin="the value\n")
    assert done.returncode == 0, done.stderr
    assert "the value" not in done.stdout + done.stderr

    async def stored():
        store = FileSecrets(tmp_path / "d" / "secrets", entropy=os.urandom)
        try:
            return await store.get(stored_name(Repository("acme", "shop"), "TOKEN"))
        finally:
            await store.close()

    assert asyncio.run(stored()).text == "the value"
    assert pullwright("secret", "delete", "acme/shop", "TOKEN", "--data", "d", cwd=tmp_path).returncode == 0
    assert asyncio.run(stored()) is None
    wrong = pullwright("secret", "set", "acme/shop", "token", "--data", "d", cwd=tmp_path, stdin="x")
    assert wrong.returncode == 1
    assert "Capital letters" in wrong.stderr
