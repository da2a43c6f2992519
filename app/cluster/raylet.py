"""Ray's processes on a node, of which this process becomes the parent."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from app.cluster.refusal import why

LOOK_SECONDS = 0.1
STOP_SECONDS = 10.0
NAME = b"raylet/raylet"  # how the path of Ray's program ends
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Have the kernel make this process the parent of what its children leave behind. Linux, as Ray's nodes are."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1)


class Raylet:
    """`command` (`ray start`) starts the processes, all in a group of their own, and exits: it costs 60 MB of memory.

    Its own processes start others; these end with it. `adopt_orphans` was called before.
    """

    def __init__(self, command: list[str], output: Path) -> None:
        """`output` is a file for what the command writes."""
        self._output = output
        with output.open("wb") as file:
            # A new session: Ctrl-C must reach only this process, which lets the trainers save first.
            self._starter = subprocess.Popen(command, start_new_session=True, stdout=file, stderr=file)
        self._has_ended = False

    def is_alive(self) -> bool:
        status = self._starter.poll()
        if status is not None and not self._has_ended:
            # The only child in the group. Where it could not be started, nothing of it may stay.
            self._has_ended = status != 0 or _has_child_exited(os.P_PGID, self._starter.pid)
            if status != 0:
                self.end()
            else:
                while _has_child_exited(os.P_ALL, 0):
                    pass  # trainers whose fork server is gone
        return not self._has_ended

    @property
    def has_started(self) -> bool:
        return self._starter.returncode == 0

    @property
    def refusal(self) -> str | None:
        """Why it could not be started."""
        return why(self._output.read_text(errors="replace")) if self._starter.returncode else None

    def end(self) -> None:
        """Have the processes end, and kill those that do not. None of another cluster on this machine is among them."""
        deadline = time.monotonic() + STOP_SECONDS
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._starter.pid, number)
            while time.monotonic() < deadline and self._is_any_left():
                time.sleep(LOOK_SECONDS)
            deadline = time.monotonic() + STOP_SECONDS

    def _is_any_left(self) -> bool:
        self._starter.poll()
        with suppress(ChildProcessError):
            while os.waitid(os.P_PGID, self._starter.pid, os.WEXITED | os.WNOHANG) is not None:
                pass
            return True
        return False


def end_left_over(variable: str, value: str) -> None:
    """Kill the processes of Ray that run with this environment variable: those of a `join` that was killed."""
    found = list(_with(f"{variable}={value}".encode()))
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline and any(Path(f"/proc/{pid}/cmdline").exists() for pid in found):
        time.sleep(LOOK_SECONDS)


def _with(entry: bytes) -> Iterator[int]:
    for folder in Path("/proc").iterdir():
        with suppress(OSError):  # no process, one that has ended, or another user's
            words, variables = ((folder / name).read_bytes().split(b"\0") for name in ("cmdline", "environ"))
            if words[0].endswith(NAME) and entry in variables:
                yield int(folder.name)


def _has_child_exited(kind: int, number: int) -> bool:
    """Reap a child that has exited, if there is one; also True if there is no child of that kind in a group."""
    try:
        return os.waitid(kind, number, os.WEXITED | os.WNOHANG) is not None
    except ChildProcessError:
        return kind == os.P_PGID
