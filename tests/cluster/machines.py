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
exec "$@"
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=20)


@dataclass
class Machine:
    """`folder` is its disk: it outlives the machine's processes."""

    name: str
    network: Network
    address: str
    folder: Path
    process: subprocess.Popen[bytes] | None = None

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
            sys.executable, "-m", "app.cli", "join", address or self.network.listen, "--name", self.name,
            "--token-file", str(self.network.token), "--folder", str(self.folder / "node"),
            "--cpu-devices", str(cpu_devices),
        ]  # fmt: skip
        self.start(words, **environment)

    def start(self, words: list[str], **environment: str) -> None:
        """Start the machine's only program."""
        self.folder.mkdir(exist_ok=True)
        inside = INSIDE.format(session=f"/tmp/trackside-ray-{os.getuid()}", name=self.name)
        isolated = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--uts", "sh", "-c", inside, "sh", *words]
        with (self.folder / "output.log").open("ab") as output:
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

    def slow(self, *netem: str) -> None:
        """Delay or lose packets: the words of `tc … netem`."""
        subprocess.run(["tc", "qdisc", "replace", "dev", self.cable, "root", "netem", *netem], check=True, timeout=20)


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
