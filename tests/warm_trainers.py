"""Fork servers that have torch loaded from the start: forked from a process that loads it once for all tests.

They run the code of any fork server, as processes in sessions of their own, with an environment of their own. Loading
torch takes four seconds of processor time at each start of a worker. Their parent is this process, not the worker.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress

from trainer.process.forkclient import ForkServer
from trainer.process.threads import SPIN_LIMIT

MODULE = "trainer.process.forkserver"  # in the command line, by which a worker knows its trainers
LOADED_WITH = ("OMP_", "GOMP_", "KMP_", "MKL_", "LD_", "CUDA_", "NVIDIA_", "TORCH", "PYTORCH")  # variables of torch


class Process:
    """A fork server, with the part of `subprocess.Popen` that ForkServer uses."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._ended = os.pidfd_open(pid)

    def kill(self) -> None:
        signal.pidfd_send_signal(self._ended, signal.SIGKILL)

    def wait(self) -> None:
        select.select([self._ended], [], [])


class WarmForkServer(ForkServer):
    """Asks the process at `address` for a fork server instead of starting a program."""

    def __init__(self, address: str, environment: Mapping[str, str] | None = None) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asked:
            asked.connect(f"\0{address}")
            mask = os.umask(0o077)
            os.umask(mask)
            inherited = {"environment": {**SPIN_LIMIT, **(environment or os.environ)}, "umask": mask}
            socket.send_fds(asked, [json.dumps(inherited).encode()], [theirs.fileno()])
            self._process = Process(int(asked.recv(100)))  # type: ignore[assignment]
        self._file = self._socket.makefile("rwb")
        self.ready = False


def address_for(environment: Mapping[str, str]) -> str | None:
    """Where fork servers with this environment are had; None if torch has to be loaded anew for it."""
    return _address() if _of_torch(environment) == _of_torch(_environment()) else None


def _of_torch(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(LOADED_WITH)}


@functools.cache
def _environment() -> dict[str, str]:
    return {**os.environ, **SPIN_LIMIT, "OMP_NUM_THREADS": "1"}


@functools.cache
def _address() -> str:
    name = f"trackside-tests-{os.getpid()}"
    # A worker may connect before the process has started: it is answered once torch is loaded.
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(f"\0{name}")
        listener.listen(16)
        command = [sys.executable, "-m", "tests.warm_trainers", str(listener.fileno()), "-m", MODULE]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            env=_environment(),
            start_new_session=True,
            pass_fds=[listener.fileno()],
        )
    atexit.register(_end, process)
    return name


def _end(process: subprocess.Popen[bytes]) -> None:
    process.communicate(timeout=60)  # closes its standard input; it may still be loading torch


def main(listening: int) -> None:
    """Fork a fork server for each connection, until the end of the standard input."""
    with socket.socket(fileno=listening) as listener:
        from trainer.process.forkserver import PRELOADED, serve
        from trainer.system.machine import packages

        for module in PRELOADED:
            importlib.import_module(module)
        packages()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            asked, _ = listener.accept()
            data, descriptors, _, _ = socket.recv_fds(asked, 1 << 20, 1)
            if not descriptors:  # the worker was killed before it had asked
                asked.close()
                continue
            (theirs,) = descriptors
            if pid := os.fork():
                with suppress(BrokenPipeError):  # the worker was killed just now
                    asked.send(f"{pid}".encode())
                asked.close()
                os.close(theirs)
                continue
            listener.close()
            asked.close()
            os.setsid()
            inherited = json.loads(data)
            os.umask(inherited["umask"])
            os.environ.clear()
            os.environ.update(inherited["environment"])
            with socket.socket(fileno=theirs) as connection:
                serve(connection)
            os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
