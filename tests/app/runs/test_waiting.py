"""How long a run waits for a device, estimated from the queue."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.runs.estimates import Pace
from app.runs.launching import Launcher
from app.runs.requests import NewRun
from app.runs.waiting import waiting
from app.storage.db import Database
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


def test_a_time_budget_is_known_without_earlier_runs(database: Database, launcher: Launcher, shapes: Path) -> None:
    launcher.create(NewRun(dataset=RECORD, preset="quick", overrides={"budget.minutes": 3}))
    with database.read() as session:
        found = waiting(session, [], {RECORD: read_record(shapes, RECORD)}, 1)
    assert (found.active, found.queued, found.seconds) == (0, 1, 180)
