"""Images, built and run for real by Debian's buildah, without a daemon and without a registry.

The base images cannot be fetched on a machine that reaches no registry, so stand-ins are made: Debian by debootstrap where the
Dockerfile says python:3.12-slim, and this machine's Node where it says node:22. The Dockerfiles themselves are built unchanged.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON, NODE = "localhost/python", "localhost/node"
_DEBIAN = "http://deb.debian.org/debian"


def missing() -> str:
    """What keeps images from being built here; empty when nothing does."""
    lacking = [program for program in ("buildah", "debootstrap", "node") if shutil.which(program) is None]
    if lacking:
        return f"NO IMAGES: {', '.join(lacking)} not installed (Debian: apt-get install buildah debootstrap); the Dockerfiles stay unbuilt"
    if os.geteuid() != 0:
        return "NO IMAGES: building a base with debootstrap takes root; the Dockerfiles stay unbuilt"
    return ""


@dataclass
class Builder:
    """``folder`` holds all storage; nothing of the machine's own images is touched."""

    folder: Path

    def __post_init__(self):
        self._configuration = self.folder / "storage.conf"
        self._configuration.write_text(
            f'[storage]\ndriver = "vfs"\ngraphroot = "{self.folder}/graph"\nrunroot = "{self.folder}/run"\n'
        )

    def make_bases(self):
        context = self.folder / "python"
        context.mkdir()
        packages = "--include=python3,python3-venv,ca-certificates"
        subprocess.run(
            ["debootstrap", "--variant=minbase", packages, "bookworm", str(self.folder / "rootfs"), _DEBIAN],
            check=True,
            capture_output=True,
            text=True,
            timeout=600,
        )
        subprocess.run(
            ["tar", "-C", str(self.folder / "rootfs"), "-cf", str(context / "rootfs.tar"), "."], check=True, timeout=120
        )
        shutil.rmtree(self.folder / "rootfs")
        (context / "Dockerfile").write_text("FROM scratch\nADD rootfs.tar /\n")
        self("bud", "--pull-never", "--tag", PYTHON, str(context))
        self._make_node()

    def _make_node(self):
        context = self.folder / "node"
        program = Path(os.path.realpath(shutil.which("node")))
        (context / "usr/local/bin").mkdir(parents=True)
        shutil.copy(program, context / "usr/local/bin/node")
        shutil.copytree(program.parents[1] / "lib/node_modules", context / "usr/local/lib/node_modules", symlinks=True)
        (context / "Dockerfile").write_text("FROM scratch\nCOPY usr /usr\n")
        self("bud", "--pull-never", "--tag", NODE, str(context))

    def build(self, name):
        """The project's own Dockerfile, as it is; returns the image's name."""
        certificates = "--volume=/etc/ssl/certs:/etc/ssl/certs:ro"
        bases = [f"--build-arg=PYTHON={PYTHON}", f"--build-arg=NODE={NODE}"]
        image = f"localhost/{name}"
        self(
            "bud",
            "--pull-never",
            certificates,
            *bases,
            "--file",
            str(ROOT / name / "Dockerfile"),
            "--tag",
            image,
            str(ROOT),
        )
        return image

    @contextmanager
    def container(self, image):
        name = self("from", "--pull-never", image).strip()
        try:
            yield name
        finally:
            self("rm", name)

    def command(self, container, *argv, **environment):
        """The command line that runs ``argv`` in a container."""
        return [
            "buildah",
            "run",
            *(f"--env={name}={value}" for name, value in environment.items()),
            container,
            "--",
            *argv,
        ]

    def run(self, container, *argv, **environment):
        return subprocess.run(
            self.command(container, *argv, **environment),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    @property
    def environment(self):
        return {
            **os.environ,
            "BUILDAH_ISOLATION": "chroot",
            "STORAGE_DRIVER": "vfs",
            "CONTAINERS_STORAGE_CONF": str(self._configuration),
        }

    def __call__(self, *argv):
        done = subprocess.run(
            ["buildah", *argv], env=self.environment, capture_output=True, text=True, timeout=900, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout
