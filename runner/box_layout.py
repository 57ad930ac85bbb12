"""What a box is made of: the machine's programs, read-only, a few files of ours, and three folders that are the agent's.

::

    /            empty and read-only
    ├── usr bin lib …   the machine's programs
    ├── etc      certificates, loader and alternatives of the machine; users, names and hosts of our own
    ├── opt/agent       the agent's program
    ├── run/box         the forwarder and the sockets of the doors
    ├── proc dev tmp    fresh; tmp and dev/shm in memory and of bounded size
    └── …        tree, home and tmp of the box, and named toolchains, where they are outside

Nothing else of the machine exists inside: no home folder, no runner data, no ``/sys``, ``/run`` or ``/var``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from infra.core.errors import Invalid
from runner import door
from runner.box_start import DOOR
from runner.sandbox import Box

HOSTNAME = "agent"
PROGRAMS = Path("/opt/agent")
TMP_BYTES = 1024**3
SHARED_MEMORY_BYTES = 256 * 1024**2

_TOP = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")

# Without resolv.conf (there is no DNS inside), gitconfig and npmrc (which may hold credentials), ssl/private and pki/tls/private.
_ETC = (
    "alternatives",
    "bash.bashrc",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "debian_version",
    "fonts",
    "inputrc",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "magic",
    "mime.types",
    "os-release",
    "pki/ca-trust",
    "pki/tls/cert.pem",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "profile",
    "profile.d",
    "protocols",
    "redhat-release",
    "services",
    "ssl/cert.pem",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
)


def own_python() -> tuple[Path, Path]:
    """The interpreter of this process without its virtual environment, and the folder that it is installed in."""
    return Path(os.path.realpath(sys.executable)), Path(os.path.realpath(sys.base_prefix))


def check_toolchain(folder: Path) -> Path:
    """A folder of programs that boxes may read. Raises ``Invalid`` for one that holds more than programs."""
    if not folder.is_absolute() or not folder.is_dir():
        raise Invalid(
            f"RUNNER_TOOLCHAINS names {str(folder)!r}, which is not an existing folder with an absolute path.",
            code="invalid_setting",
            hint="Name folders like /opt/node, separated by colons.",
        )
    real = folder.resolve()
    private = [
        Path.home().resolve(),
        Path("/root"),
        Path("/home"),
        Path("/etc"),
        Path("/proc"),
        Path("/var"),
        Path("/tmp"),  # noqa: S108 - named to be refused
    ]
    if any(each.is_relative_to(real) for each in private):
        raise Invalid(
            f"RUNNER_TOOLCHAINS names {str(folder)!r}, which holds more than programs.",
            code="invalid_setting",
            hint="Name the folder of one toolchain, such as /opt/node: every agent can read all of it.",
        )
    return real


def inside_program(program: Path) -> Path:
    """Where the agent's program is inside the box."""
    return PROGRAMS / program.name


def inside_socket(port: int) -> str:
    return f"/run/box/{port}.sock"


def etc_files(*, uid: int, gid: int, home: Path) -> dict[str, str]:
    """Files of ``/etc`` that are made for the box: name → text."""
    return {
        "passwd": f"root:x:0:0:root:/nonexistent:/usr/sbin/nologin\nagent:x:{uid}:{gid}:agent:{home}:/bin/bash\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
        "group": f"root:x:0:\nagent:x:{gid}:\nnogroup:x:65534:\n",
        "hosts": f"127.0.0.1 localhost {HOSTNAME}\n::1 localhost\n",
        "hostname": f"{HOSTNAME}\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n",
    }


def mounts(box: Box, program: Path, etc: Path, toolchains: Iterable[Path]) -> list[str]:
    """bubblewrap's arguments for the box's files. ``etc``: the folder with what ``etc_files`` says."""
    python_home = own_python()[1]
    arguments = ["--ro-bind", "/usr", "/usr", *_top_folders(), *_etc(etc)]
    arguments += ["--proc", "/proc", "--dev", "/dev", *_memory(Path("/dev/shm"), SHARED_MEMORY_BYTES)]  # noqa: S108 - the box's own
    arguments += _memory(Path("/tmp"), TMP_BYTES)  # noqa: S108 - the box's own
    arguments += _bind("--ro-bind", Path(door.__file__), Path(DOOR))
    arguments += _bind("--ro-bind", program.resolve(), inside_program(program))
    for each in box.doors:
        assert each.socket is not None, "the driver checked it"
        arguments += _bind("--ro-bind", each.socket, Path(inside_socket(each.port)))
    for folder in dict.fromkeys([python_home, *toolchains, *box.readable]):
        if not folder.is_relative_to("/usr"):
            arguments += _bind("--ro-bind", folder, folder)
    for folder in (box.tree, box.home, box.tmp):
        arguments += _bind("--bind", folder, folder)
    repository = box.tree / ".git"
    if box.own_tree and repository.exists():  # what the agent wrote there, its owner's git would execute later
        arguments += ["--ro-bind", str(repository), str(repository)]
    return [*arguments, "--remount-ro", "/dev", "--remount-ro", "/"]


def _bind(how: str, source: Path, place: Path) -> list[str]:
    """Parents are made by name, or they would get the source's permissions and could keep the agent out."""
    above = [part for folder in reversed(place.parents[:-1]) for part in ("--perms", "0755", "--dir", str(folder))]
    return [*above, how, str(source), str(place)]


def _memory(place: Path, size: int) -> list[str]:
    return ["--perms", "1777", "--size", str(size), "--tmpfs", str(place)]


def _top_folders() -> list[str]:
    """On most systems these are links into /usr, on some they are folders of their own."""
    arguments = []
    for name in _TOP:
        folder = Path("/", name)
        if folder.is_symlink():
            arguments += ["--symlink", str(folder.readlink()), str(folder)]
        elif folder.is_dir():
            arguments += ["--ro-bind", str(folder), str(folder)]
    return arguments


def _etc(own: Path) -> Sequence[str]:
    arguments = []
    for name in _ETC:
        path = Path("/etc", name)
        if path.exists():
            arguments += _bind("--ro-bind", path, path)
    for path in sorted(own.iterdir()):
        arguments += _bind("--ro-bind", path, Path("/etc", path.name))
    return arguments
