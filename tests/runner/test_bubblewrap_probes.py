"""What a hostile agent tries from inside a box: with a shell, and with a program of its own. Everything finds nothing.

All probes of a kind run in one box; each one's outcome is a test. The lists at the end see what arrived outside.
"""

import asyncio
import ctypes
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from runner.bubblewrap import BubblewrapSandbox
from tests.runner import box_reader
from tests.runner.boxes import box_in, needs_boxes, run_in

pytestmark = needs_boxes
PYTHON = os.path.realpath(sys.executable)

# Commands that find something print the canary, or call `hit`.
SHELL = {
    "variables": "env; set",
    "own environ": "cat /proc/self/environ /proc/$PPID/environ",
    "all environs": "cat /proc/[0-9]*/environ /proc/[0-9]*/task/*/environ",
    "ps": "ps axeww",
    "command lines": "cat /proc/[0-9]*/cmdline",
    "mounts": "cat /proc/self/mountinfo | grep outside && hit",
    "a private file": 'cat "$PRIVATE"',
    "a public file": 'cat "$PUBLIC"',
    "the folder outside": 'ls -laR "$OUTSIDE" && hit',
    "by the first process's root": 'cat "/proc/1/root$PUBLIC"',
    "by the first process's folder": "ls -d /proc/1/cwd/../outside && hit",
    "by a link": "cat link-out; cat ../../outside/public",
    "by searching": "grep -rIs --exclude-dir=proc --exclude-dir=usr --exclude-dir=sys --exclude-dir=versions canary- / | grep -v probe.sh",
    "the launchers": 'ls "$LAUNCHERS" && hit',
    "shadow": "cat /etc/shadow && hit",
    "ssh keys": "ls /root/.ssh /home/*/.ssh /etc/ssh && hit",
    "resolv.conf": "[ -e /etc/resolv.conf ] && hit",
    "docker": "ls /var/run/docker.sock /run/docker.sock && hit",
    "system services": "ls /run/systemd /run/dbus && hit",
    "schedules": "crontab -l && hit; ls /var/spool/cron /etc/cron.d && hit",
    "signals": 'kill -0 "$VICTIM" && hit',
    "a write outside": 'echo x > "$OUTSIDE/made" && hit',
    "a write through a link": "echo x > link-out && cat link-out && hit",
    "a write to the system": "for f in /x /usr/x /usr/bin/x /etc/x /opt/x /run/x /dev/x /lib/x; do touch $f && hit; done",
    "another program": "cp /bin/true /opt/agent/sh && hit",
    "the forwarder": "echo > /run/box/door.py && hit",
    "mount": "mount -t tmpfs none /tmp && hit; mount --bind / /tmp && hit; mount -o remount,rw / && hit; umount -l /usr && hit",
    "namespaces": "unshare -Ur true && hit; unshare -m true && hit; unshare -n true && hit; nsenter -t 1 -a true && hit",
    "a box in a box": "bwrap --ro-bind / / true && hit",
    "chroot": "chroot / true && hit",
    "su": "su -c true </dev/null && hit; sudo -n true && hit; setpriv --reuid 0 true && hit; newgrp root </dev/null && hit",
    "set-user-id": "find / -xdev -perm -4000 -newermt 2000-01-01 -path '/tmp/*' && cp /bin/sh s && chmod 6755 s && ./s -pc '[ $(id -u) = 0 ]' && hit",
    "devices": "mknod d b 254 0 && hit; cat /dev/vda /dev/sda /dev/mem /dev/kmsg && hit; ls /dev/fuse /dev/kvm /dev/net && hit",
    "the kernel's log": "dmesg && hit",
    "core dumps": "[ \"$(ulimit -c)\" = 0 ] || hit; sh -c 'kill -SEGV $$'; ls core* && hit",
    "the machine's port": "exec 2>/dev/null; timeout 2 bash -c 'exec 3<>/dev/tcp/127.0.0.1/'$TCP && hit",
    "curl": "curl -sm2 http://127.0.0.1:$TCP/ && hit; curl -sm2 http://[::ffff:127.0.0.1]:$TCP/ && hit",
    "wget": "wget -qT2 -t1 -O- http://169.254.169.254/ && hit; wget -qT2 -t1 -O- http://metadata.google.internal/ && hit",
    "metadata in decimal": "curl -sm2 http://2852039166/ && hit",
    "metadata in hexadecimal": "curl -sm2 http://0xA9FEA9FE/ && hit",
    "metadata in octal": "curl -sm2 http://0251.0376.0251.0376/ && hit",
    "ping": "ping -c1 -W1 192.0.2.1 && hit",
    "names": "getent hosts example.org && hit; getent hosts metadata.google.internal && hit",
    "routes": "ip route get 1.1.1.1 && hit; cat /proc/net/route | tail -n +2 | grep . && hit",
    "interfaces": "ip -o link | grep -v ' lo:' && hit; ls /sys/class/net && hit",
    "git over ssh": "GIT_SSH_COMMAND='ssh -o ConnectTimeout=2' git ls-remote git@192.0.2.1:x/y && hit",
    "git configuration": "git config --system --list && hit; git config --global --list && hit",
    "shared memory": 'ipcs -m | grep -i "$SHM" && hit; ls /dev/shm | grep . && hit',
    "sysctl": "for f in core_pattern hostname modprobe; do [ -w /proc/sys/kernel/$f ] && echo x > /proc/sys/kernel/$f && hit; done",
    "host name": "hostname pwned && hit",
    "keys": "keyctl show && hit; cat /proc/keys | grep . && hit",
    "modules": "modprobe dummy && hit; insmod x && hit",
    "tracing": "strace -p 1 -o /dev/null & sleep 0.1; kill %1 && hit; gdb -p 1 -batch && hit",
    "priority": "renice -n -10 $$ >/dev/null && hit",
    "open files of the first process": "ls -l /proc/1/fd | grep -E 'launchers|ns|user:' && hit",
    "tmp of others": 'ls -A /tmp | grep -vx "$ABOVE" && hit; ls -A /var/tmp && hit',
}  # fmt: skip

READER = sorted(box_reader.PROBES)


class Outside:
    """What there is to find, and who notices when it is found."""

    def __init__(self, folder: Path) -> None:
        self.canary = f"canary-{secrets.token_hex(8)}"
        self.folder = folder / "outside"
        self.folder.mkdir(mode=0o755)
        for name, mode in (("private", 0o600), ("public", 0o644), (".env", 0o644)):
            (self.folder / name).write_text(self.canary)
            (self.folder / name).chmod(mode)
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.tcp_all = socket.create_server(("0.0.0.0", 0))
        self.tcp6 = socket.create_server(("::1", 0), family=socket.AF_INET6) if socket.has_ipv6 else None
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.abstract = socket.socket(socket.AF_UNIX)
        self.abstract_name = f"pullwright-{secrets.token_hex(8)}"
        self.abstract.bind(f"\0{self.abstract_name}")
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind(str(self.folder / "socket"))
        (self.folder / "socket").chmod(0o666)
        for listener in (self.abstract, self.unix):
            listener.listen()
        self.shm_key = secrets.randbits(30)
        self.libc = ctypes.CDLL(None)
        self.shm = self.libc.shmget(self.shm_key, 4096, 0o1666)
        self.victim = subprocess.Popen(
            ["/bin/sh", "-c", "read line", self.canary], env={"CANARY": self.canary}, stdin=subprocess.PIPE
        )

    def targets(self) -> dict:
        return {
            "canary": [self.canary[:9], self.canary[9:]],
            "private": str(self.folder / "private"),
            "public": str(self.folder / "public"),
            "outside": str(self.folder),
            "unix": str(self.folder / "socket"),
            "abstract": self.abstract_name,
            "tcp": self.tcp.getsockname()[1],
            "tcp6": self.tcp6.getsockname()[1] if self.tcp6 else 0,
            "tcp_all": self.tcp_all.getsockname()[1],
            "udp": self.udp.getsockname()[1],
            "address": own_address(),
            "victim": self.victim.pid,
            "shm_key": self.shm_key,
        }

    def heard(self) -> list[str]:
        """What arrived at any of the listeners."""
        arrived = []
        for name in ("tcp", "tcp_all", "tcp6", "udp", "abstract", "unix"):
            listener = getattr(self, name)
            if listener is None:
                continue
            listener.setblocking(False)
            try:
                listener.recv(10) if name == "udp" else listener.accept()
                arrived.append(name)
            except BlockingIOError:
                continue
        return arrived

    def close(self) -> None:
        self.victim.kill()
        self.victim.communicate()
        self.libc.shmctl(self.shm, 0, None)
        for listener in (self.tcp, self.tcp_all, self.tcp6, self.udp, self.abstract, self.unix):
            if listener is not None:
                listener.close()


def own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return asking.getsockname()[0]


@pytest.fixture(scope="module")
def outcome():
    """(what the shell's probes printed, what the reader's found, what was noticed outside)."""
    with tempfile.TemporaryDirectory(prefix="pullwright-probes-") as name:
        outside = Outside(Path(name))
        try:
            yield asyncio.run(probe_all(Path(name), outside))
        finally:
            outside.close()


async def probe_all(place: Path, outside: Outside):
    sandbox = BubblewrapSandbox(place / "launchers")
    (place / "run").mkdir()
    box = box_in(place / "run")
    prepare(box.tree, outside, place)
    spoken = await run_in(sandbox, box, "sh probe.sh 2>&1", env={"CANARY": outside.canary, "PATH": os.defpath})
    read = await run_in(sandbox, box, f'exec {PYTHON} -I reader.py "$1"', json.dumps(outside.targets()))
    return outside.canary, by_name(spoken), json.loads(read.strip().splitlines()[-1]), noticed(outside)


def prepare(tree: Path, outside: Outside, place: Path) -> None:
    (tree / "link-out").symlink_to(outside.folder / "public")
    (tree / "probe.sh").write_text("hit() { printf 'F''OUND'; }\n" + "\n".join(shell_lines(outside, place)))
    (tree / "reader.py").write_text(Path(box_reader.__file__).read_text())


def noticed(outside: Outside) -> dict:
    written = ("/x", "/usr/x", "/etc/x", "/opt/x", "/etc/pullwright-probe", "/usr/pullwright-probe")
    return {
        "heard": outside.heard(),
        "victim": outside.victim.poll(),
        "outside": sorted(path.name for path in outside.folder.iterdir()),
        "public": (outside.folder / "public").read_text(),
        "system": [path for path in written if Path(path).exists()],
    }


def shell_lines(outside: Outside, place: Path, names=None):
    targets = outside.targets()
    values = {
        "PRIVATE": targets["private"],
        "PUBLIC": targets["public"],
        "OUTSIDE": targets["outside"],
        "LAUNCHERS": place / "launchers",
        "VICTIM": targets["victim"],
        "TCP": targets["tcp"],
        "ABOVE": place.relative_to("/tmp").parts[0] if place.is_relative_to("/tmp") else "",
        "SHM": f"{targets['shm_key']:x}",
    }
    yield from (f"{name}='{value}'" for name, value in values.items())
    for number, name in enumerate(SHELL):
        if names is None or name in names:
            yield f"echo '=== {number}'; ( {SHELL[name]} ) </dev/null"


def by_name(told: str) -> dict[str, str]:
    parts = (part.split("\n", 1) for part in told.split("=== ")[1:])
    return {list(SHELL)[int(number)]: text for number, text in parts}


@pytest.mark.parametrize("name", SHELL)
def test_the_shell_finds_nothing(outcome, name):
    canary, shell, _, _ = outcome
    assert "FOUND" not in shell[name], shell[name]
    assert canary not in shell[name]


@pytest.mark.parametrize("name", READER)
def test_a_program_finds_nothing(outcome, name):
    _, _, read, _ = outcome
    assert read[name] == ""


def test_nothing_was_noticed_outside(outcome):
    _, _, _, seen = outcome
    assert seen["heard"] == []
    assert seen["victim"] is None
    assert seen["outside"] == [".env", "private", "public", "socket"]
    assert seen["public"].startswith("canary-")
    assert seen["system"] == []


def test_the_probes_can_find_something(outcome):
    """The same shell probes without a box find most of what they look for; so nothing found means something."""
    with tempfile.TemporaryDirectory(prefix="pullwright-probes-") as name:
        outside = Outside(Path(name))
        try:
            keep = (
                "variables",
                "ps",
                "a private file",
                "a public file",
                "the folder outside",
                "signals",
                "the machine's port",
            )
            script = "hit() { printf 'F''OUND'; }\n" + "\n".join(shell_lines(outside, Path(name), keep))
            told = subprocess.run(
                ["/bin/sh"],
                input=script,
                env={"CANARY": outside.canary, "PATH": os.defpath},
                capture_output=True,
                text=True,
                check=False,
            ).stdout
        finally:
            outside.close()
    shell = by_name(told)
    assert set(shell) == set(keep)
    for found in keep:
        assert outside.canary in shell[found] or "FOUND" in shell[found], found
