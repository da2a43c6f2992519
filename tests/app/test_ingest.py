"""Event files to rows, exactly once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from app.db import Database
from app.endings import conclude
from app.ingest import ingest, is_behind
from app.metrics import Metrics
from app.tables import Change, Run, Status
from app.transitions import LostClaim
from trainer.events import EventWriter

START: dict[str, Any] = {
    "total_steps": 100, "steps_per_epoch": 10, "epochs": 10, "device": "cpu", "val_count": 50,
}  # fmt: skip


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/t.db")
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def run(database: Database, tmp_path: Path) -> Run:
    (tmp_path / "run").mkdir()
    row = Run(
        id="run",
        name="r",
        dataset="d",
        model="cnn",
        spec={"batch_size": 64},
        status=Status.STARTING,
        claim=1,
        attempt=1,
    )
    with database.write() as session:
        session.add(row)
    return row


def drain(database: Database, run: Run, folder: Path) -> None:
    while is_behind(run, folder):
        with database.write() as session:
            end = ingest(session, run, folder)
            if end is not None:
                conclude(session, run, end)


def losses(database: Database) -> list[tuple[int, float]]:
    series = Metrics(database).read("run", ["train/loss"])["series"]
    if not series:
        return []
    return list(zip(series["train/loss"]["step"], series["train/loss"]["value"], strict=True))


def test_a_torn_last_line_waits_and_a_new_attempt_rewinds(database: Database, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = EventWriter(folder, 1)
    first.emit("start", attempt=1, from_step=0, **START)
    for step in range(1, 8):
        first.metrics(step, {"train/loss": float(step)})
    with first.path.open("ab") as file:
        file.write(b'{"e":"metrics","t":1.0,"step":8,"v":{"train/l')
    drain(database, run, folder)
    assert losses(database) == [(step, float(step)) for step in range(1, 8)]
    assert not is_behind(run, folder)

    run.attempt = 2
    with database.write() as session:
        stored = session.get(Run, run.key)
        assert stored is not None
        stored.attempt = 2
        session.add(stored)
    second = EventWriter(folder, 2)
    second.emit("start", attempt=2, from_step=4, **START)
    second.metrics(5, {"train/loss": 50.0})
    second.emit("end", reason="finished", step=5, summary={"test/acc": 0.5}, error=None)
    drain(database, run, folder)
    assert losses(database) == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0), (5, 50.0)]
    with database.read() as session:
        stored = session.get(Run, run.key)
        kinds = [change.kind for change in session.exec(select(Change).order_by(Change.seq)).all()]  # type: ignore[arg-type]
    assert stored is not None
    assert stored.status == Status.FINISHED
    assert stored.summary == {"test/acc": 0.5}
    assert "rewind" in kinds


def test_an_end_of_an_older_attempt_ends_nothing(database: Database, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run.attempt = 2
    old = EventWriter(folder, 1)
    old.emit("start", attempt=1, from_step=0, **START)
    old.emit("end", reason="failed", step=1, summary={}, error={"code": "x", "message": "x", "detail": None})
    EventWriter(folder, 2).emit("start", attempt=2, from_step=0, **START)
    drain(database, run, folder)
    assert run.status == Status.STARTING


def test_a_lost_claim_writes_nothing(database: Database, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    events = EventWriter(folder, 1)
    events.emit("start", attempt=1, from_step=0, **START)
    events.metrics(1, {"train/loss": 1.0})
    with database.write() as session:
        stored = session.get(Run, run.key)
        assert stored is not None
        stored.claim = 2
        session.add(stored)
    with pytest.raises(LostClaim), database.write() as session:
        ingest(session, run, folder)
    assert losses(database) == []
    with database.read() as session:
        assert session.exec(select(Change)).all() == []
