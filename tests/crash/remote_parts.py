"""The programs of tests/crash/test_remote_killed.py: a seat, a mirror and a trainer, which kill themselves if told to.

DIE_AT=n: the process kills itself before its n-th change to a file in its folder.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

from app.worker.mirror import Mirror, State
from app.worker.seat_calls import Unreachable
from trainer.node.calls import Damaged, NotBegun, Refused
from trainer.node.seat import Seat
from trainer.plan.decisions import Decisions
from trainer.process.assignment import AnyAssignment
from trainer.process.starter import Starter
from trainer.rundir.checkpoints import (
    CheckpointInfo,
    last_checkpoint,
    remove_checkpoints,
    superseded_checkpoints,
)
from trainer.rundir.events import EventWriter, attempts
from trainer.rundir.folder import RunDir
from trainer.rundir.lock import take_lock
from trainer.system.durable import write_durably

STEPS = 60
SAVED_EVERY = 10
WRITES = {"os.rename", "os.link", "os.remove", "os.truncate", "os.mkdir", "os.rmdir"}
FORKED = "trainer.process.forkserver"  # in the command line of a trainer, by which it is known


def die_before_a_change(folder: Path) -> None:
    """Count the changes to files below `folder`, and kill this process before one of them."""
    at, count = int(os.environ.pop("DIE_AT", "0")), itertools.count(1)
    prefix = str(folder)

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            changes = isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        elif event in WRITES:
            path, changes = arguments[0], True
        else:
            return
        inside = isinstance(path, int) or os.fsdecode(path).startswith(prefix)
        if changes and inside and next(count) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    if at:
        sys.addaudithook(look)


class ScriptedStarter(Starter):
    """Starts the trainer below instead of one that needs torch."""

    def start(self, assignment: AnyAssignment) -> int | None:
        command = [sys.executable, "-m", __spec__.name, "trainer", assignment.run_dir, str(assignment.attempt), FORKED]
        with RunDir(Path(assignment.run_dir)).output.open("ab") as output:
            return subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True).pid

    def close(self) -> None:
        pass


def train(run_dir: Path, attempt: int) -> None:
    """Write what a trainer writes, step by step, from the last checkpoint on."""
    take_lock(run_dir, 20)
    if max(attempts(run_dir)) > attempt:
        return
    run, events, decisions = RunDir(run_dir), EventWriter(run_dir, attempt), Decisions(run_dir)
    last = last_checkpoint(run_dir)
    first = 0 if last is None else last.step
    decisions.due(first)
    events.emit("start", from_step=first, attempt=attempt)
    for step in range(first + 1, STEPS + 1):
        time.sleep(0.004)
        if step % 15 == 0 and not decisions.due(step):
            decisions.take(step, "compile", on=True)
        events.metrics(step, {"train/loss": step / 7})
        if step % SAVED_EVERY == 0:
            save(run, events, step)
    run.artifacts.mkdir(exist_ok=True)
    write_durably(run.calibration, b'{"temperature": 1.0}')
    events.emit("end", reason="finished", step=STEPS, summary={}, error=None)


def save(run: RunDir, events: EventWriter, step: int) -> None:
    run.checkpoints.mkdir(exist_ok=True)
    data = f"{step} ".encode() * 40_000
    write_durably(run.weights(step), data)
    sha = hashlib.sha256(data).hexdigest()
    info = CheckpointInfo(step=step, epoch=0, sha256=sha, size=len(data), metrics={}, best=step == 20)
    events.sync()
    write_durably(run.sidecar(step), info.model_dump_json().encode())
    events.emit("checkpoint", **info.model_dump())
    if old := superseded_checkpoints(run.path):
        events.emit("pruned", steps=old)
        remove_checkpoints(run.path, old)


def serve_seat(root: Path, address: str) -> None:
    """Answer the calls of mirrors, each connection in a thread of its own."""
    die_before_a_change(root)
    seat = Seat(root, "0", "cpu", ScriptedStarter())

    def answer(connection: Connection) -> None:
        while True:
            try:
                name, arguments, named = connection.recv()
            except (EOFError, OSError):
                return
            try:
                result: Any = getattr(seat, name)(*arguments, **named)
            except (Refused, Damaged, NotBegun, FileNotFoundError) as error:
                result = error
            connection.send(result)

    with Listener(address, "AF_UNIX") as listener:
        while True:
            threading.Thread(target=answer, args=(listener.accept(),), daemon=True).start()


class SeatAt:
    """The calls of a seat at `address`."""

    there_since = 0.0

    def __init__(self, address: str) -> None:
        self._address = address
        self._local = threading.local()

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: self._call(name, arguments, named)

    def _call(self, name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        try:
            if getattr(self._local, "connection", None) is None:
                self._local.connection = Client(self._address, "AF_UNIX")
            self._local.connection.send((name, arguments, named))
            answer = self._local.connection.recv()
        except (OSError, EOFError) as error:
            self._local.connection = None
            raise Unreachable(str(error)) from error
        if isinstance(answer, Exception):
            raise answer
        return answer


def mirror(run_dir: Path, datasets: Path, address: str, attempt: int, claim: int, *, begins: bool) -> None:
    """Follow one attempt to its end; the exit status says how that was."""
    die_before_a_change(run_dir)
    made = Mirror(
        run_dir, datasets, SeatAt(address), attempt=attempt, claim=claim, begins=begins,
        patience_seconds=20.0, orphan_seconds=600.0,
    )  # fmt: skip
    made.start()
    while made.state in (State.SHIPPING, State.FOLLOWING) and made.error is None:
        time.sleep(0.005)
    if made.error is not None:
        raise made.error
    made.release(ends=True)
    made.join(20.0)
    sys.exit(10 if made.state is State.EXITED else 11)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    role, *rest = sys.argv[1:]
    if role == "trainer":
        train(Path(rest[0]), int(rest[1]))
    elif role == "seat":
        serve_seat(Path(rest[0]), rest[1])
    else:
        mirror(Path(rest[0]), Path(rest[1]), rest[2], int(rest[3]), int(rest[4]), begins=rest[5] == "begins")
