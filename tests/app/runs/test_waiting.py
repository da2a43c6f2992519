"""How long a run waits for a device, estimated from the queue."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlmodel import select

from app.runs.estimates import Pace
from app.runs.launching import Launcher
from app.runs.public import RunPublic, public
from app.runs.requests import NewRun
from app.runs.waiting import waiting
from app.storage.db import Database
from app.storage.tables import Run, Status
from tests.databases import settings_of
from trainer.data.format import read_record

RECORD = "shapes100"


@pytest.fixture
def launcher(database: Database, tmp_path: Path, shapes: Path) -> Launcher:
    (tmp_path / "datasets").symlink_to(shapes)
    return Launcher(database, settings_of(tmp_path))


def test_each_device_takes_the_next_run_as_soon_as_it_is_free(
    database: Database, launcher: Launcher, shapes: Path
) -> None:
    records = {RECORD: read_record(shapes, RECORD)}
    runs = [
        launcher.create(NewRun(dataset=RECORD, preset="baseline-cnn", overrides={"max_steps": steps}))
        for steps in (30, 10, 15)
    ]
    past = [Pace(runs[0].train_spec, 2.0)]
    with database.read() as session:
        assert waiting(session, past, records, 1).seconds == 2.0 * (30 + 10 + 15)
        assert waiting(session, past, records, 2).seconds == 2.0 * (10 + 15)
        assert waiting(session, past, records, 4).seconds == 0
        assert waiting(session, [], records, 1).seconds is None
        assert waiting(session, past, records, 0).seconds is None
        assert waiting(session, past, records, 1).queued == 3


def test_a_run_on_several_devices_waits_for_and_takes_as_many(
    database: Database, launcher: Launcher, shapes: Path
) -> None:
    def launch(steps: int, devices: int) -> RunPublic:
        overrides = {"max_steps": steps, "devices": devices}
        return launcher.create(NewRun(dataset=RECORD, preset="baseline-cnn", overrides=overrides))

    records = {RECORD: read_record(shapes, RECORD)}
    trained, wide, _ = launch(100, 1), launch(30, 2), launch(10, 1)
    launch(50, 8)  # cannot start
    with database.write() as session:
        row = session.exec(select(Run).where(Run.id == trained.id)).one()
        row.status, row.total_steps, row.step, row.throughput, row.attempt = (
            Status.RUNNING,
            100,
            50,
            row.spec["batch_size"] / 2,
            2,
        )
    past = [Pace(run.train_spec, 2.0) for run in (trained, wide)]
    with database.read() as session:
        left = public(session.exec(select(Run).where(Run.id == trained.id)).one()).eta_seconds
        assert left == pytest.approx(100)
        # Of two devices: the wide run starts when both are free; the narrow one and a new one share them afterwards.
        assert waiting(session, past, records, 2).seconds == pytest.approx(100 + 60)
        assert waiting(session, past, records, 2, needed=2).seconds == pytest.approx(100 + 60 + 20)
        # Of three, the wide run takes the two free ones at once, and the narrow one one of these after it.
        assert waiting(session, past, records, 3).seconds == pytest.approx(60)


def test_a_time_budget_is_known_without_earlier_runs(database: Database, launcher: Launcher, shapes: Path) -> None:
    launcher.create(NewRun(dataset=RECORD, preset="quick", overrides={"budget.minutes": 3}))
    with database.read() as session:
        found = waiting(session, [], {RECORD: read_record(shapes, RECORD)}, 1)
    assert (found.active, found.queued, found.seconds) == (0, 1, 180)
