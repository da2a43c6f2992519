"""The trainer's process: its lock, its signals, its owner, and its end event."""

from __future__ import annotations

import logging
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from trainer.process.assignment import Assignment
from trainer.process.distant_ranks import DistantRanks, StoppedBefore
from trainer.process.ending import ended_by
from trainer.process.other_ranks import OtherRanks
from trainer.process.siblings import Siblings
from trainer.rundir.events import EventWriter, attempts
from trainer.rundir.folder import RunDir
from trainer.rundir.lock import LockHeld, take_lock

log = logging.getLogger(__name__)

OWNER_CHECK_SECONDS = 1.0
SUPERSEDED_SECONDS = 20.0
FAILURE_LINES = 20


class StopRequest:
    """The training loop's `should_stop`: true after a signal, without an owner, or once a newer attempt exists."""

    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment
        self.orphaned = False
        self.superseded = False
        self._signalled = False  # a plain value: a signal handler must not take a lock
        self._next_check = 0.0
        self._owned_at = time.monotonic()
        self._owner_mtime = 0.0

    def install(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signalled = True

    def request(self) -> None:
        self._signalled = True

    def __call__(self) -> bool:
        now = time.monotonic()
        if now >= self._next_check:
            self._next_check = now + OWNER_CHECK_SECONDS
            self._check(now)
        return self._signalled or self.orphaned or self.superseded

    def _check(self, now: float) -> None:
        run = RunDir(Path(self.assignment.run_dir))
        self.superseded = max(attempts(run.path), default=0) > self.assignment.attempt
        if run.pause.exists():
            # The run ends as interrupted, and the worker queues it again.
            run.pause.unlink()
            self._signalled = True
        if self.assignment.orphan_seconds is None:
            return
        try:
            mtime = run.owner.stat().st_mtime
        except FileNotFoundError:
            mtime = 0.0
        # Compares modification times instead of the file's age, because the clock may jump.
        if mtime != self._owner_mtime:
            self._owner_mtime, self._owned_at = mtime, now
        self.orphaned = now - self._owned_at > self.assignment.orphan_seconds


def run_trainer(assignment: Assignment, make_events: Callable[[Path, int], EventWriter] = EventWriter) -> int:
    """Train while holding the lock, then emit the end event, also on failure. Return the process's exit status:

    0 finished, 1 failed, 2 interrupted or orphaned, 3 locked or superseded.
    """
    run_dir = Path(assignment.run_dir)
    try:
        take_lock(run_dir, SUPERSEDED_SECONDS)
    except LockHeld as error:
        log.error("%s", error)
        return 3
    if max(attempts(run_dir), default=0) > assignment.attempt:
        log.error("attempt %d of %s has been superseded", assignment.attempt, run_dir)
        return 3
    stop = StopRequest(assignment)
    stop.install()
    events = make_events(run_dir, assignment.attempt)
    others = _other_ranks(assignment, events, stop)
    end, status = _train(assignment, events, stop, others)
    others.finish(failed=status == 1)
    from trainer.models.device import free_memory  # after _train, which imports torch

    free_memory()  # the worker starts the next run at once, which may take all of the device's memory
    with suppress(OSError) if status == 1 else nullcontext():  # on a full disk; the worker checks the disk
        events.emit("end", **end)
    events.sync()
    events.close()
    return status


def _other_ranks(assignment: Assignment, events: EventWriter, stop: StopRequest) -> OtherRanks:
    if assignment.listen is not None:
        return DistantRanks(assignment, events, stop, stop.request)
    return Siblings(assignment, events) if assignment.others else OtherRanks(assignment, events)


def _train(
    assignment: Assignment, events: EventWriter, stop: StopRequest, others: OtherRanks
) -> tuple[dict[str, Any], int]:
    """Return the fields of the end event and the exit status. Nothing keeps the network once this has returned."""
    from trainer.loop import train  # imports torch, which is already loaded in a forked child

    run_dir, datasets = Path(assignment.run_dir), Path(assignment.datasets)
    cache = None if assignment.cache is None else Path(assignment.cache)
    try:
        others.start()
        ranks = others.ranks()
        outcome = train(run_dir, datasets, assignment.device, assignment.attempt, events, stop, cache, ranks)
    except StoppedBefore:
        reason = "orphaned" if stop.orphaned else "interrupted"
        return {"reason": reason, "step": None, "summary": {}, "error": None}, 2
    except Exception as raised:
        log.exception("the run failed")
        error = others.cause(raised)
        ended, status = ended_by(error, assignment, events)
        if status == 1:
            with suppress(OSError):
                for line in "".join(traceback.format_exception(error)).splitlines()[-FAILURE_LINES:]:
                    events.emit("log", line=line[:1000])
        return ended, status
    reason = "orphaned" if outcome.reason == "interrupted" and stop.orphaned else outcome.reason
    ended = {"reason": reason, "step": outcome.step, "summary": outcome.summary, "error": None}
    return ended, 0 if reason == "finished" else 2
