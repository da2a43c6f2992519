"""Trainers on a seat of another machine: mirrors copy what they write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from signal import Signals

from app.settings import Settings
from app.storage.tables import Job
from app.worker.executor import Trainer
from app.worker.gang import Gang, Place
from app.worker.mirror import Mirror, State
from trainer.process.assignment import Assignment, TaskAssignment

CLOSE_SECONDS = 5.0


class RemoteTrainer:
    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror
        mirror.start()

    @property
    def pid(self) -> int | None:
        return self.mirror.pid

    @property
    def was_lost(self) -> bool:
        return self.mirror.state in (State.LOST, State.REFUSED)

    def own(self) -> None:
        """Nothing to do: whenever the mirror pulls, the seat tells the trainer."""

    def signal(self, number: Signals) -> None:
        self.mirror.signal(number)

    def has_exited(self, now: float, *, left: bool = False) -> bool:
        if self.mirror.error is not None:
            raise self.mirror.error
        return self.mirror.state in (State.EXITED, State.LOST, State.REFUSED)

    def checkpoints_changed(self) -> bool:
        return self.mirror.checkpoints_changed()

    def release(self) -> None:
        self.mirror.release(ends=True)


class RemoteExecutor:
    """Starts trainers on the seat of `place`. `find` returns the places of the run's other devices by their names."""

    def __init__(self, settings: Settings, place: Place, find: Callable[[str], Place]) -> None:
        self._settings, self._place, self._find = settings, place, find
        self._trainers: list[RemoteTrainer] = []

    def prepare(self) -> None:
        """The seat does so itself."""

    def begin(self, job: Job, assignment: Assignment | TaskAssignment) -> Trainer:
        return self._follow(job, Path(assignment.run_dir), begins=True)

    def adopt(self, job: Job, folder: Path) -> Trainer:
        return self._follow(job, folder, begins=False)

    def _follow(self, job: Job, folder: Path, *, begins: bool) -> Trainer:
        others = [self._find(name) for name in getattr(job, "other_devices", None) or ()]
        mirror = Mirror(
            folder,
            self._settings.datasets,
            self._place.seat,
            attempt=job.attempt,
            claim=job.claim,
            begins=begins,
            patience_seconds=self._settings.remote_patience_seconds,
            orphan_seconds=self._settings.orphan_seconds,
            shipping=self._place.shipping,
            gang=Gang((self._place, *others)) if others else None,
        )
        trainer = RemoteTrainer(mirror)
        self._trainers = [known for known in self._trainers if known.mirror.is_alive] + [trainer]
        return trainer

    def close(self) -> None:
        """Stop copying. The trainers go on, for the next worker to find."""
        for trainer in self._trainers:
            trainer.mirror.release(ends=False)
        for trainer in self._trainers:
            trainer.mirror.join(CLOSE_SECONDS)
