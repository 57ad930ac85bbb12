"""The real Terraform on the project's own configuration, in a copy, with an imaginary Google Cloud behind it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.world.terraform_provider import Provider

ROOT = Path(__file__).resolve().parents[2]


def missing():
    """What keeps Terraform from running here; empty when nothing does."""
    if shutil.which("terraform") is None:
        return "NO TERRAFORM: https://developer.hashicorp.com/terraform/install; the configuration is only checked against the schema's names"
    return ""


@dataclass
class Terraform:
    """``folder`` is a copy of terraform/ with a local state."""

    folder: Path
    provider: Provider

    @classmethod
    def copy(cls, folder, provider):
        shutil.copytree(ROOT / "terraform", folder, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
        (folder.parent / "docs").mkdir()
        shutil.copy(ROOT / "docs" / "settings.md", folder.parent / "docs")  # names of settings are checked against it
        (folder / "backend_override.tf").write_text('terraform {\n  backend "local" {}\n}\n')
        made = cls(folder, provider)
        done = made("init", "-input=false")
        assert done.returncode == 0, done.stdout + done.stderr
        return made

    def __call__(self, *argv):
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "CHECKPOINT_DISABLE": "1",
            "TF_IN_AUTOMATION": "1",
            "TF_REATTACH_PROVIDERS": self.provider.reattach(os.getpid()),
        }
        argv = ["terraform", *argv, *(["-no-color"] if argv[0] != "show" else [])]
        return subprocess.run(
            argv, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=150, check=False
        )

    def variables(self, **given):
        """Writes the variables of the next commands."""
        (self.folder / "test.auto.tfvars.json").write_text(json.dumps({"project_id": "example-project", **given}))

    def resources(self):
        """What the state holds: address → values."""
        state = json.loads(self("show", "-json").stdout)
        return {item["address"]: item["values"] for item in state["values"]["root_module"]["resources"]}

    def outputs(self):
        return {name: item["value"] for name, item in json.loads(self("output", "-json").stdout).items()}
