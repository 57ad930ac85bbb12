"""An agent's own program that looks for a way out, run inside a box by ``test_bubblewrap_probes.py``.

Its one argument is JSON: the targets outside. It prints a JSON object: what was tried → what it found, empty for nothing.
Only the standard library, and nothing of this project, is there for it.
"""

# ruff: noqa: PTH101, PTH115, PTH123, PTH207, PTH208 - it looks with the plainest means there are, and its globs cross /proc
import contextlib
import ctypes
import glob
import json
import os
import platform
import shutil
import socket
import struct
import sys
from pathlib import Path

TARGETS = {}
LIBC = ctypes.CDLL(None, use_errno=True)
NUMBERS = {  # x86_64, aarch64
    "clone3": (435, 435),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "io_uring_setup": (425, 425),
    "finit_module": (313, 273),
    "open_by_handle_at": (304, 265),
    "pivot_root": (155, 41),
    "mount": (165, 40),
    "umount2": (166, 39),
    "fsopen": (430, 430),
    "move_mount": (429, 429),
    "setns": (308, 268),
    "process_vm_readv": (310, 270),
    "pidfd_getfd": (438, 438),
    "kexec_load": (246, 104),
    "syslog": (103, 116),
}
PROBES = {}


def probe(function):
    PROBES[function.__name__.replace("_", " ")] = function
    return function


def call(name, *arguments):
    """The result of a system call; negative is an error."""
    number = NUMBERS[name][platform.machine() == "aarch64"]
    return LIBC.syscall(number, *arguments)


def found(data):
    text = data.decode(errors="replace") if isinstance(data, bytes) else str(data)
    return "the canary" if "".join(TARGETS["canary"]) in text else ""


def connect(address, family=socket.AF_INET, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as connection:
        connection.settimeout(1)
        connection.connect(address)
        if kind == socket.SOCK_DGRAM:
            connection.send(b"hello")
    return "connected"


def by_name(name, port=80):
    family, kind, _, _, address = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0]
    return connect(address, family, kind)


def files_of_processes(name):
    for path in glob.glob(f"/proc/*/{name}") + glob.glob(f"/proc/*/task/*/{name}"):
        with contextlib.suppress(OSError):
            if found(Path(path).read_bytes()):
                return path
    return ""


@probe
def variables():
    return found(dict(os.environ))


@probe
def environments_of_processes():
    return files_of_processes("environ")


@probe
def arguments_of_processes():
    return files_of_processes("cmdline")


@probe
def working_folders_of_processes():
    return next((link for link in glob.glob("/proc/*/cwd/*") + glob.glob("/proc/*/root/*") if found(link)), "")


@probe
def open_files_of_processes():
    for link in glob.glob("/proc/*/fd/*"):
        with contextlib.suppress(OSError):
            target = os.readlink(link)
            if "launchers" in target or "user:[" in target or "mnt:[" in target:
                return f"{link} → {target}"
    return ""


@probe
def own_memory():
    """What bubblewrap or the forwarder left in the memory that the agent's process began with."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "[stack]" in line:
            first, last = (int(part, 16) for part in line.split()[0].split("-"))
            with open("/proc/self/mem", "rb") as memory:
                memory.seek(first)
                return found(memory.read(last - first))
    return ""


@probe
def only_own_processes():
    numbers = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    return "" if len(numbers) < 10 and max(numbers) < 1000 else f"{len(numbers)} processes"


@probe
def signal_the_victim():
    os.kill(TARGETS["victim"], 0)
    return "it took a signal"


@probe
def pidfd_of_the_victim():
    return f"descriptor {os.pidfd_open(TARGETS['victim'])}"


@probe
def trace_the_first_process():
    return "attached" if LIBC.ptrace(16, 1, 0, 0) == 0 else ""


@probe
def memory_of_the_first_process():
    local = ctypes.create_string_buffer(8)
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(local), 8)
    return "read" if call("process_vm_readv", 1, vector, 1, vector, 1, 0) > 0 else ""


@probe
def a_private_file():
    return Path(TARGETS["private"]).read_text()


@probe
def a_public_file():
    return Path(TARGETS["public"]).read_text()


@probe
def a_folder_outside():
    return str(os.listdir(TARGETS["outside"]))


@probe
def a_link_to_a_file_outside():
    return Path("link-out").read_text()


@probe
def files_above_the_tree():
    here = Path.cwd()
    seen = {entry.name for above in here.parents for entry in above.iterdir() if above != Path("/")}
    return str(seen & {"outside", "launchers", ".env"} or "")


@probe
def home_folders():
    return str(glob.glob("/home/*/*") + glob.glob("/root/*") + glob.glob("/root/.[a-oq-z]*") or "")


@probe
def shadow():
    return Path("/etc/shadow").read_text()


@probe
def users_of_the_machine():
    return "more users than the box's" if len(Path("/etc/passwd").read_text().splitlines()) > 3 else ""


@probe
def a_unix_socket_outside():
    return connect(TARGETS["unix"], socket.AF_UNIX)


@probe
def an_abstract_socket():
    return connect("\0" + TARGETS["abstract"], socket.AF_UNIX)


@probe
def abstract_sockets_listed():
    return found(Path("/proc/net/unix").read_text()) or (
        "a socket" if "@" in Path("/proc/net/unix").read_text() else ""
    )


@probe
def loopback_of_the_machine():
    return connect(("127.0.0.1", TARGETS["tcp"]))


@probe
def loopback_of_the_machine_by_ipv6():
    return connect(("::1", TARGETS["tcp6"]), socket.AF_INET6) if TARGETS["tcp6"] else ""


@probe
def udp_on_the_machines_loopback():
    return "" if connect(("127.0.0.1", TARGETS["udp"]), kind=socket.SOCK_DGRAM) else "never: the test listens"


@probe
def address_of_the_machine():
    return connect((TARGETS["address"], TARGETS["tcp_all"]))


@probe
def internet_by_tcp():
    return connect(("192.0.2.1", 443))


@probe
def internet_by_udp():
    return connect(("192.0.2.1", 53), kind=socket.SOCK_DGRAM)


@probe
def internet_by_ipv6():
    return connect(("2001:db8::1", 443), socket.AF_INET6)


@probe
def dns_over_tcp():
    return connect(("8.8.8.8", 53))


@probe
def dns_over_https():
    return connect(("1.1.1.1", 443))


@probe
def names():
    return socket.getaddrinfo("example.org", 443)[0][4][0]


@probe
def broadcast():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        return f"sent {sender.sendto(b'x', ('255.255.255.255', 9))}"


@probe
def icmp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as sender:
        return f"sent {sender.sendto(bytes([8, 0, 0xF7, 0xFF, 0, 0, 0, 0]), ('192.0.2.1', 0))}"


@probe
def raw_sockets():
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP):
        return "a raw socket"


@probe
def packet_sockets():
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3):
        return "a packet socket"


@probe
def the_virtual_machines_host():
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM):
        return "a vsock socket"


@probe
def interfaces():
    names = [name for _, name in socket.if_nameindex()]
    return "" if names == ["lo"] else str(names)


@probe
def a_new_interface():
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as link:
        body = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + struct.pack("=HH8s", 12, 3, b"dummy0\0\0")
        link.send(struct.pack("=IHHII", 16 + len(body), 16, 0x601 | 4, 1, 0) + body)
        answer = link.recv(4096)
        error = struct.unpack_from("=i", answer, 16)[0]
        return "" if error < 0 else "made"


for _name, _text in {
    "metadata by name": "metadata.google.internal",
    "metadata by short name": "metadata",
    "metadata by address": "169.254.169.254",
    "metadata in decimal": "2852039166",
    "metadata in hexadecimal": "0xA9FEA9FE",
    "metadata in octal": "0251.0376.0251.0376",
    "metadata mapped into ipv6": "::ffff:169.254.169.254",
    "metadata by ipv6": "fd00:ec2::254",
    "metadata by the zero address": "0.0.0.0",
}.items():
    PROBES[_name] = lambda text=_text: by_name(text)


@probe
def become_root():
    os.setuid(0)
    return "root"


@probe
def become_roots_group():
    os.setgid(0)
    return "root's group"


@probe
def join_groups():
    os.setgroups([0])
    return "joined"


@probe
def capabilities():
    status = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    held = [name for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb") if int(status[name], 16)]
    return str(held or "") + ("" if status["NoNewPrivs"].strip() == "1" else "new privileges")


@probe
def system_calls_are_filtered():
    return "" if "Seccomp:\t2" in Path("/proc/self/status").read_text() else "no filter"


@probe
def set_user_id_programs():
    copy = shutil.copy("/usr/bin/id", "id-copy")
    os.chmod(copy, 0o6755)
    with os.popen("./id-copy -u") as told:
        return "" if told.read().strip() == str(os.getuid()) else "another user"


for _name, _flag in {
    "user": 0x10000000,
    "mount": 0x20000,
    "process": 0x20000000,
    "network": 0x40000000,
    "ipc": 0x08000000,
    "host name": 0x04000000,
    "control group": 0x02000000,
}.items():
    PROBES[f"a new {_name} namespace"] = lambda flag=_flag: "made" if LIBC.unshare(flag) == 0 else ""


@probe
def a_child_in_new_namespaces():
    arguments = (ctypes.c_uint64 * 11)(0x10000000 | 0x20000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0)
    result = call("clone3", arguments, 88)
    if result == 0:
        os._exit(0)
    return "made" if result > 0 else ""


@probe
def enter_other_namespaces():
    for kind in ("mnt", "net", "pid", "user", "ipc"):
        with contextlib.suppress(OSError):
            namespace = os.open(f"/proc/1/ns/{kind}", os.O_RDONLY)
            if call("setns", namespace, 0) == 0:
                return kind
    return ""


@probe
def mount_something():
    return "mounted" if call("mount", b"none", b"/tmp", b"tmpfs", 0, None) == 0 else ""


@probe
def mount_in_the_new_way():
    return "opened" if call("fsopen", b"tmpfs", 0) >= 0 else ""


@probe
def unmount_something():
    return "unmounted" if call("umount2", b"/usr", 2) == 0 else ""


@probe
def make_programs_writable():
    return "remounted" if call("mount", b"none", b"/usr", None, 32 | 4096, None) == 0 else ""


@probe
def change_the_root():
    os.chroot("/tmp")
    return "changed"


@probe
def pivot_the_root():
    return "pivoted" if call("pivot_root", b"/tmp", b"/tmp") == 0 else ""


@probe
def files_by_handle():
    return "opened" if call("open_by_handle_at", -100, b"\0" * 64, 0) >= 0 or ctypes.get_errno() != 1 else ""


for _name, _arguments in {
    "bpf": (0, 0, 0),
    "perf_event_open": (0, 0, -1, -1, 0),
    "userfaultfd": (1,),
    "io_uring_setup": (1, 0),
    "finit_module": (0, b"", 0),
    "keyctl": (0, -3, 1),
    "add_key": (b"user", b"pullwright-probe", b"x", 1, -3),
    "kexec_load": (0, 0, 0, 0),
    "pidfd_getfd": (0, 0, 0),
}.items():
    PROBES[f"the system call {_name}"] = lambda name=_name, arguments=_arguments: (
        "" if call(name, *arguments) < 0 and ctypes.get_errno() == 1 else f"errno {ctypes.get_errno()}"
    )


@probe
def the_kernels_log():
    return "read" if call("syslog", 3, ctypes.create_string_buffer(100), 100) > 0 else ""


@probe
def put_input_into_a_terminal():
    import fcntl
    import pty

    _, terminal = pty.openpty()
    fcntl.ioctl(terminal, 0x5412, b"x")
    return "typed"


@probe
def shared_memory_segments():
    return "attached" if LIBC.shmget(TARGETS["shm_key"], 0, 0) >= 0 else ""


@probe
def shared_memory_files():
    return str(os.listdir("/dev/shm") or "")


@probe
def devices():
    known = {
        "full",
        "null",
        "random",
        "tty",
        "urandom",
        "zero",
        "pts",
        "shm",
        "ptmx",
        "core",
        "fd",
        "stdin",
        "stdout",
        "stderr",
    }
    return str(set(os.listdir("/dev")) - known or "")


@probe
def a_new_device():
    os.mknod("disk", 0o60600, os.makedev(254, 0))
    return "made"


@probe
def a_disk_through_proc():
    with open("/proc/kcore", "rb") as memory:
        return f"{len(memory.read(16))} bytes of the kernel"


for _place in ("/", "/usr", "/usr/local/bin", "/etc", "/dev", "/opt/agent", "/run/box", "/proc/sys/kernel"):

    def _write(place=_place):
        Path(place, "pullwright-probe").write_text("x")
        return "written"

    PROBES[f"writing to {_place}"] = _write

for _file in (
    "/proc/sys/kernel/core_pattern",
    "/proc/sysrq-trigger",
    "/proc/sys/user/max_user_namespaces",
    "/etc/hosts",
    "/run/box/door.py",
):

    def _open(path=_file):
        os.close(os.open(path, os.O_WRONLY))
        return "opened for writing"

    PROBES[f"changing {_file}"] = _open


@probe
def core_dumps():
    import resource

    return str(resource.getrlimit(resource.RLIMIT_CORE)[1] or "")


@probe
def control_groups():
    return str(glob.glob("/sys/fs/cgroup/*") or "")


@probe
def host_name():
    return "" if socket.gethostname() == "agent" else socket.gethostname()


if __name__ == "__main__":
    TARGETS.update(json.loads(sys.argv[1]))
    results = {}
    for name, attempt in PROBES.items():
        try:
            results[name] = attempt() or ""
        except (OSError, ValueError, AttributeError):
            results[name] = ""
    sys.stdout.write(json.dumps(results))
