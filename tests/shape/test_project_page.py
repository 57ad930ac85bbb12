"""The example of a project's own file is one, and the commands beside it exist."""

import re

from typer.testing import CliRunner

from infra.core.container import Known, check_container
from infra.documents import read_yaml
from infra.local.cli import app
from tests.docs import ROOT

PAGE = (ROOT / "docs" / "project.md").read_text()


def test_the_example_is_accepted_and_uses_every_key_that_is_explained():
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    found = check_container(read_yaml(example.encode()), Known(models=["claude-opus-5-5"])).findings
    assert [each.told("docs/project.md") for each in found.all] == []
    assert {"tools", "mcpServers", "resources", "security"} <= set(re.findall(r"^(\w+):", example, re.MULTILINE))


def test_the_commands_exist():
    for command in re.findall(r"^pullwright ([a-z ]+)", PAGE, re.MULTILINE):
        done = CliRunner().invoke(app, [*command.split(), "--help"])
        assert done.exit_code == 0, command
