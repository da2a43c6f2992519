"""How long a trainer that is told to stop may take before it is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from signal import Signals
from typing import ClassVar

import pytest

from app.jobs.kinds import RUN
from app.storage.db import Database
from app.storage.tables import Job, Run, Status
from app.worker.executor import LocalExecutor, LocalTrainer, Trainer
from app.worker.job import COMPILE_SECONDS, HeldJob
from tests.databases import settings_of
from trainer.rundir.lock import take_lock

GRACE = 3.0


class Signalled(LocalTrainer):
    """Records the signals that a trainer would be sent."""

    sent: ClassVar[list[Signals]] = []

    def signal(self, number: Signals) -> None:
        self.sent.append(number)


class Adopting(LocalExecutor):
    def adopt(self, job: Job, folder: Path) -> Trainer:
        return Signalled(folder, job.pid, 0.0)


@pytest.mark.parametrize(("phase", "grace"), [("training", GRACE), ("compile", GRACE + COMPILE_SECONDS)])
def test_a_trainer_that_compiles_has_minutes_to_stop(tmp_path: Path, phase: str, grace: float) -> None:
    settings = settings_of(tmp_path, stop_seconds=GRACE)
    database = Database(settings.url)
    database.migrate()
    with database.write() as session:
        run = Run(id="r", name="r", dataset="d", preset="p", model="m", spec={}, status=Status.STOPPING, phase=phase)
        session.add(run)
    (settings.runs / "r").mkdir(parents=True)
    lock = take_lock(settings.runs / "r")
    Signalled.sent.clear()
    held = HeldJob(RUN, run, database, settings, Adopting())
    held.adopt()
    for now, sent in (
        (0.0, [signal.SIGTERM]),
        (grace - 0.1, [signal.SIGTERM]),
        (grace + 0.1, [signal.SIGTERM, signal.SIGKILL]),
    ):
        held.follow(now)
        assert Signalled.sent == sent, now
    os.close(lock)
    database.close()
