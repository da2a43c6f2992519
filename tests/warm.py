"""Commands of `trackside` that start at once: forked from a process that has imported what they need.

They are processes like any others, in a session of their own and with an environment of their own; but importing takes
a second or two of processor time at each start, and tests start hundreds of them.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence

from tests import warm_trainers
from trainer.process.threads import SPIN_LIMIT

AVAILABLE = hasattr(os, "pidfd_open")  # on Linux


class Forked:
    """A forked process, with the part of `subprocess.Popen` that tests use."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = os.pidfd_open(pid)

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            signal.pidfd_send_signal(self._ended, number)

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._ended], [], [], 0)[0]:
            self._reap()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        if self.returncode is None:
            if not select.select([self._ended], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            self._reap()
        assert self.returncode is not None
        return self.returncode

    def _reap(self) -> None:
        self.returncode = _parent().ask({"status": self.pid})
        os.close(self._ended)


def start(arguments: Sequence[str], environment: Mapping[str, str]) -> Forked:
    """Start `trackside` with these arguments and only this environment."""
    request: dict[str, object] = {"arguments": list(arguments), "environment": dict(environment)}
    if "worker" in arguments:
        request["trainers"] = warm_trainers.address_for({**environment, **SPIN_LIMIT})
    return Forked(_parent().ask(request))


class Parent:
    """The process that forks."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.warm", f"{theirs.fileno()}"]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True)
        theirs.close()
        atexit.register(self.close)

    def ask(self, request: Mapping[str, object]) -> int:
        self._socket.send(json.dumps(request).encode())
        return int(self._socket.recv(100))

    def close(self) -> None:
        self._socket.close()
        self._process.wait(10)


@functools.cache
def _parent() -> Parent:
    return Parent()


def main(requests: socket.socket) -> None:
    """Fork and reap as asked, until the other end of the socket is closed."""
    import app.host.open_files
    import app.host.parent
    import app.main
    import app.web.server  # noqa: F401
    from app.cli import main as trackside
    from trainer.process import starter

    while data := requests.recv(1 << 20):
        request = json.loads(data)
        if "status" in request:
            _, status = os.waitpid(request["status"], 0)
            requests.send(f"{os.waitstatus_to_exitcode(status)}".encode())
        elif pid := os.fork():
            requests.send(f"{pid}".encode())
        else:
            requests.close()
            os.setsid()
            random.seed()
            os.environ.clear()
            os.environ.update(request["environment"])
            if (address := request.get("trainers")) is not None:
                starter.ForkServer = functools.partial(warm_trainers.WarmForkServer, address)  # type: ignore[attr-defined, assignment]
            sys.argv = ["trackside", *request["arguments"]]
            trackside()


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
