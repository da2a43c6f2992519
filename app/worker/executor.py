"""What a worker asks of its trainers, wherever they run, and how it is done on this machine."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from signal import Signals
from typing import Protocol

from app.storage.tables import Job
from trainer.process.assignment import Assignment, TaskAssignment
from trainer.process.handle import TrainerHandle
from trainer.process.starter import Starter
from trainer.rundir.events import EventWriter
from trainer.rundir.folder import JobDir

log = logging.getLogger(__name__)


class Trainer(Protocol):
    """The trainer of a job's newest attempt. What it writes appears in the job's directory in the home.

    `pid`: None until it was started. `was_lost`: its machine does not answer any more, or does not know it: that is
    not counted as a death of the trainer.
    """

    @property
    def pid(self) -> int | None: ...

    @property
    def was_lost(self) -> bool: ...

    def own(self) -> None:
        """Tell the trainer that a worker looks after it. Without that, it saves and exits after some minutes."""

    def signal(self, number: Signals) -> None: ...

    def has_exited(self, now: float, *, left: bool = False) -> bool:
        """Whether the trainer is gone and all that it wrote is in the directory. `left`: do not wait for the process.

        Raises what kept it from being started, or its files from being copied.
        """

    def checkpoints_changed(self) -> bool:
        """Whether checkpoints were copied to the directory, or deleted there, by others than the trainer."""

    def release(self) -> None:
        """The worker is done with it: the job has ended, is queued again, or belongs to another worker."""


class Executor(Protocol):
    """Starts trainers. They outlive it."""

    def prepare(self) -> None:
        """Get ready while the worker looks for work."""

    def begin(self, job: Job, assignment: Assignment | TaskAssignment) -> Trainer:
        """Start a trainer for the job's new attempt."""

    def adopt(self, job: Job, folder: Path) -> Trainer:
        """Look after a trainer that another worker has started."""

    def close(self) -> None: ...


class LocalTrainer(TrainerHandle):
    was_lost = False

    def own(self) -> None:
        JobDir(self.folder).owner.touch()

    def checkpoints_changed(self) -> bool:
        return False  # they are written in place

    def release(self) -> None:
        """Nothing to do: its directory is the job's."""


class LocalExecutor:
    """Trainers on this machine."""

    def __init__(self) -> None:
        self._starter = Starter()

    def prepare(self) -> None:
        self._starter.prepare()

    def begin(self, job: Job, assignment: Assignment | TaskAssignment) -> Trainer:
        folder = Path(assignment.run_dir)
        # The empty file stops any trainer of an older attempt before the new one exists.
        EventWriter(folder, assignment.attempt).close()
        JobDir(folder).owner.touch()
        pid = self._starter.start(assignment)
        if pid is None:
            log.error("no trainer could be forked for %s", job.id)
        return LocalTrainer(folder, pid, time.monotonic())

    def adopt(self, job: Job, folder: Path) -> Trainer:
        return LocalTrainer(folder, job.pid, time.monotonic())

    def close(self) -> None:
        self._starter.close()
