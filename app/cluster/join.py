"""`trackside join`: this machine becomes a node, and stays one until it is told to leave."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType

from app.cluster.node_seat import DRAINING
from app.cluster.ray_process import NODE_FOLDER, ClusterError, join_command, ray_environment
from trainer.rundir.lock import lock_holder

LEAVE_SECONDS = 90.0  # in which trainers save and the home copies what they wrote
STOP_SECONDS = 10.0  # for Ray's processes
RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0)

log = logging.getLogger(__name__)


class Node:
    """Ray's processes on this machine, started again whenever they end. `folder` keeps what the home sends."""

    def __init__(self, address: str, name: str, token: Path, folder: Path, devices: list[str]) -> None:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", name):
            raise ClusterError(f"{name!r} cannot be the name of a node: use letters, digits, dots and hyphens.")
        self._folder = folder
        self._command = join_command(address, name, devices)
        self._environment = {**ray_environment(token), NODE_FOLDER: str(folder.resolve())}
        self._leaving = False

    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / DRAINING).unlink(missing_ok=True)
        failures = 0
        while True:
            began = time.monotonic()
            # A new session: Ctrl-C must reach only this process, which lets the trainers save first.
            process = subprocess.Popen(self._command, env=self._environment, start_new_session=True)
            while process.poll() is None and not self._leaving:
                time.sleep(0.1)
            if self._leaving:
                break
            failures = 0 if time.monotonic() - began > 30 else failures + 1
            wait = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
            log.warning("the connection to the cluster has ended: again in %.0f s", wait)
            self._pause(wait)
        self._leave(process)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._leaving = True

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._leaving:
            time.sleep(0.1)

    def _leave(self, process: subprocess.Popen[bytes]) -> None:
        """Take no more runs, have the trainers save, wait until the home has their files, and end Ray's processes."""
        (self._folder / DRAINING).touch()
        for pid in self._trainers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + LEAVE_SECONDS
        while any(self._runs()) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _runs(self) -> Iterator[Path]:
        return self._folder.glob("seats/*/runs/[!.]*")

    def _trainers(self) -> Iterator[int]:
        for run in self._runs():
            if (pid := lock_holder(run)) is not None and pid > 0:
                yield pid
