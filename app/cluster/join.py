"""The process that keeps this machine in a cluster, until it is told to leave.

`trackside join` becomes it. It runs for as long as the machine is a node, so it imports little.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType

from app.cluster.raylet import Raylet, adopt_orphans, end_left_over
from trainer.rundir.lock import lock_holder
from trainer.system.locks import lock_descriptor

NODE_FOLDER = "TRACKSIDE_NODE_FOLDER"  # where a node keeps what it was sent
DRAINING = "draining"  # a file in it: the node takes no more runs
LEAVE_SECONDS = 90.0  # in which trainers save and the home copies what they wrote
LOOK_SECONDS = 0.25
RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0)

log = logging.getLogger(__name__)


class Node:
    """Ray's processes on this machine, started again whenever they end. `folder` keeps what the home sends."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        self._folder, self._command = folder, command
        self._leaving = False

    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        (self._folder / DRAINING).unlink(missing_ok=True)
        adopt_orphans()
        end_left_over(NODE_FOLDER, str(self._folder))
        failures = 0
        while True:
            began = time.monotonic()
            raylet = Raylet(self._command, self._folder / "ray.log")
            joined = False
            while raylet.is_alive() and not self._leaving:
                if raylet.has_started and not joined:
                    joined = True
                    log.info("joined the cluster")
                time.sleep(LOOK_SECONDS)
            if self._leaving:
                break
            failures = 0 if time.monotonic() - began > 30 else failures + 1
            wait = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
            what = "the connection to the cluster has ended" if joined else f"cannot join: {raylet.refusal}"
            log.warning("%s: again in %.0f s", what, wait)
            self._pause(wait)
        self._leave(raylet)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._leaving = True

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._leaving:
            time.sleep(LOOK_SECONDS)

    def _leave(self, raylet: Raylet) -> None:
        """Take no more runs, have the trainers save, wait until the home has their files, and end Ray's processes."""
        (self._folder / DRAINING).touch()
        told: set[int] = set()
        deadline = time.monotonic() + LEAVE_SECONDS
        while any(self._runs()) and raylet.is_alive() and time.monotonic() < deadline:
            for pid in set(self._trainers()) - told:
                told.add(pid)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            time.sleep(LOOK_SECONDS)
        raylet.end()

    def _runs(self) -> Iterator[Path]:
        return self._folder.glob("seats/*/runs/[!.]*")

    def _trainers(self) -> Iterator[int]:
        for run in self._runs():
            if (pid := lock_holder(run)) is not None and pid > 0:
                yield pid


def command_of(command: list[str]) -> list[str]:
    """The command line of this process. `command` starts Ray on this machine."""
    return [sys.executable, "-m", "app.cluster.join", *command]


def main(command: list[str]) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s join %(message)s")
    folder = Path(os.environ[NODE_FOLDER])
    lock = os.open(folder / "join.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    if not lock_descriptor(lock, wait=False):
        sys.exit(f"`trackside join` is already running on {folder}: end it first.")
    Node(folder, command).run()


if __name__ == "__main__":
    main(sys.argv[1:])
