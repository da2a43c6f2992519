"""Machines of a network: a namespace each for network, processes, mounts and host name, on a bridge of this machine.

This machine is the home, at the network's first address. A machine is killed as if its power failed, and cut off
by taking its cable away.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.conftest import Server


def _can_isolate() -> bool:
    """Whether this process may make bridges and namespaces: a container's root may not."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "ip", "mount"))):
        return False
    bridge = f"tstry{os.getpid()}"
    isolated = "unshare --pid --fork --mount --uts mount -t tmpfs tmpfs /dev/shm"
    tried = f"ip link add {bridge} type bridge && ip link delete {bridge} && {isolated}"
    return subprocess.run(["sh", "-c", tried], capture_output=True, timeout=20, check=False).returncode == 0


CAN_ISOLATE = _can_isolate()

# Mounts of its own, so that Ray's sessions and shared memory are those of one machine.
INSIDE = """
mount -t proc proc /proc
mkdir -p {session}
mount -t tmpfs tmpfs {session}
mount -t tmpfs tmpfs /dev/shm
hostname {name}
{disk}
exec "$@"
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=20)


@dataclass
class Machine:
    """`folder` is its disk: it outlives the machine's processes. With `disk_bytes`, `join` gets one of that size."""

    name: str
    network: Network
    address: str
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    disk_bytes: int | None = None
    link: subprocess.Popen[bytes] | None = None
    python: str = sys.executable

    @property
    def output(self) -> Path:
        return self.folder / "output.log"

    @property
    def node(self) -> Path:
        """What `join` keeps there."""
        return self.folder / "node"

    @property
    def seen(self) -> Path:
        """The same as the machine sees it."""
        (joined, *_) = processes_with("app.cluster.join", self.pid)[-1:]
        return Path(f"/proc/{joined.pid}/root{self.node}")

    @property
    def cable(self) -> str:
        return f"{self.network.name}{self.name}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def join(self, address: str = "", *, cpu_devices: int = 1, **environment: str) -> None:
        """Start `trackside join` as the machine's only program. `address` is that of the home unless it is given."""
        words = [
            self.python, "-m", "app.cli", "join", address or self.network.listen, "--name", self.name,
            "--token-file", str(self.network.token), "--folder", str(self.node),
            "--cpu-devices", str(cpu_devices),
        ]  # fmt: skip
        self.start(words, **environment)

    def start(self, words: list[str], **environment: str) -> None:
        """Start the machine's only program."""
        self.node.mkdir(exist_ok=True, parents=True)
        disk = "" if self.disk_bytes is None else f"mount -t tmpfs -o size={self.disk_bytes} tmpfs {self.node}"
        inside = INSIDE.format(session=f"/tmp/trackside-ray-{os.getuid()}", name=self.name, disk=disk)
        isolated = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--uts", "sh", "-c", inside, "sh", *words]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.cable, *isolated],
                env={**os.environ, **environment}, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        """All its processes are gone at once; its disk stays."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def leave(self, seconds: float = 120.0) -> int:
        """SIGTERM, as a batch system sends it; return the exit status."""
        assert self.process is not None
        inside = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=True)
        # `ip` has become `unshare`, whose child is the first process of the machine.
        os.kill(int(inside.stdout.split()[0]), signal.SIGTERM)
        status = self.process.wait(seconds)
        self.process = None
        return status

    def cut(self) -> None:
        ip("link", "set", self.cable, "down")

    def heal(self) -> None:
        ip("link", "set", self.cable, "up")

    def slow(self, delay: float, loss: float) -> None:
        """Delay packets by so many seconds in each direction, and lose a share of them."""
        inner, outer, bridge = (f"{self.cable}{end}" for end in ("i", "o", "b"))
        words = [sys.executable, "-m", "tests.cluster.slow_link", inner, outer, str(delay), str(loss)]
        self.link = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert self.link.stdout is not None
        assert self.link.stdout.readline() == b"ready\n"
        ip("link", "add", bridge, "type", "bridge")
        ip("link", "set", bridge, "up")
        ip("link", "set", outer, "master", self.network.name, "up")
        for name in (inner, self.cable):
            ip("link", "set", name, "master", bridge, "up")

    def unplug(self) -> None:
        """Remove what `slow` has made; the machine is not connected any more."""
        if self.link is not None:
            self.link.kill()
            self.link.communicate()
            ip("link", "delete", f"{self.cable}b")
            self.link = None


@dataclass
class Network:
    number: int
    folder: Path
    token: Path
    machines: dict[str, Machine] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"ts{self.number}"

    @property
    def home(self) -> str:
        return f"10.77.{self.number}.1"

    @property
    def listen(self) -> str:
        """One port per network: Ray listens on all addresses of the home."""
        return f"{self.home}:{6300 + self.number}"

    def open(self) -> None:
        ip("link", "add", self.name, "type", "bridge")
        ip("addr", "add", f"{self.home}/24", "dev", self.name)
        ip("link", "set", self.name, "up")

    def machine(self, name: str) -> Machine:
        """Plug in a new machine; no program runs on it yet."""
        address = f"10.77.{self.number}.{len(self.machines) + 2}"
        made = Machine(name, self, address, self.folder / name)
        ip("netns", "add", made.cable)
        ip("link", "add", made.cable, "type", "veth", "peer", "name", "eth0", "netns", made.cable)
        ip("link", "set", made.cable, "master", self.name, "up")
        for words in (
            ["addr", "add", f"{address}/24", "dev", "eth0"],
            ["link", "set", "eth0", "up"],
            ["link", "set", "lo", "up"],
            ["route", "add", "default", "via", self.home],
        ):
            ip("-n", made.cable, *words)
        self.machines[name] = made
        return made

    def close(self) -> None:
        for machine in self.machines.values():
            machine.kill()
            machine.unplug()
            with suppress(subprocess.CalledProcessError):  # now: a namespace takes its end of it away some time later
                ip("link", "delete", machine.cable)
            ip("netns", "delete", machine.cable)
        with suppress(subprocess.CalledProcessError):
            ip("link", "delete", self.name)


@contextmanager
def network(folder: Path, home: Path) -> Iterator[Network]:
    """A network whose number depends on this process, for tests that run side by side."""
    made = Network(2 + os.getpid() % 250, folder, home / "cluster-token")
    made.open()
    try:
        yield made
    finally:
        made.close()


@contextmanager
def serving(
    server: Server, joined: Network, workers: int = 0, existing: str = "", **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """`trackside serve --cluster` of the server's home, or with the address of an `existing` cluster."""
    cluster = ["--cluster-address", existing] if existing else ["--cluster", "--listen", joined.listen]
    command = [
        sys.executable, "-m", "app.cli", "serve", "--port", str(server.settings.port), "--workers", str(workers),
        *cluster,
    ]  # fmt: skip
    with (server.home / "serve.log").open("ab") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **server.environment(), **environment}, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        server.wait_web()
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(90)


def processes_with(text: str, parent: int) -> list[psutil.Process]:
    """The descendants of a process whose command line contains `text`."""
    found = []
    for process in psutil.Process(parent).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if text in " ".join(process.cmdline()):
                found.append(process)
    return found
