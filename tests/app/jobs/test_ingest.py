"""Event files to rows, exactly once."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from app.jobs.conclude import conclude
from app.jobs.ingest import ingest
from app.jobs.kinds import RUN
from app.jobs.tail import is_behind
from app.metrics.reader import Metrics
from app.storage.db import Database
from app.storage.tables import Change, Checkpoint, Finding, LogLine, Run, Status
from app.storage.transitions import LostClaim
from trainer.rundir.events import EventWriter

START: dict[str, Any] = {
    "total_steps": 100, "steps_per_epoch": 10, "epochs": 10, "device": "cpu", "val_count": 50,
}  # fmt: skip


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
                conclude(session, RUN, run, end)


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


@pytest.mark.parametrize("said", [[], [1], [1, 3]])
def test_attempts_that_were_killed_before_their_first_word_are_passed_over(
    database: Database, run: Run, tmp_path: Path, said: list[int]
) -> None:
    folder = tmp_path / "run"
    for attempt in range(1, 6):
        events = EventWriter(folder, attempt)
        if attempt in said:
            events.emit("start", attempt=attempt, from_step=0, **START)
            events.metrics(attempt, {"train/loss": float(attempt)})
        events.close()
        drain(database, run, folder)
    last = EventWriter(folder, 6)
    last.emit("start", attempt=6, from_step=0, **START)
    last.metrics(6, {"train/loss": 6.0})
    last.close()
    drain(database, run, folder)
    assert (run.tail_attempt, losses(database)) == (6, [(6, 6.0)])


@pytest.mark.parametrize("last_words", [[1], [2], [3, 4], []])
def test_the_last_words_of_a_superseded_trainer_change_nothing_when_all_is_read_anew(
    database: Database, run: Run, tmp_path: Path, last_words: list[int]
) -> None:
    folder = tmp_path / "run"
    for attempt in (1, 2):
        events = EventWriter(folder, attempt)
        events.emit("start", attempt=attempt, from_step=2 * (attempt - 1), **START)
        for step in range(2 * attempt - 1, 2 * attempt + 1):
            events.metrics(step, {"train/loss": float(step)})
        events.close()
    third = EventWriter(folder, 3)  # it was killed before its first word
    for step in last_words:
        third.metrics(step, {"train/loss": -1.0})
    third.close()
    EventWriter(folder, 4).emit("start", attempt=4, from_step=4, **START)
    drain(database, run, folder)
    assert losses(database) == [(step, float(step)) for step in range(1, 5)]


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


def test_a_restart_at_any_point_writes_each_event_once(database: Database, run: Run, tmp_path: Path) -> None:
    """The file grows by pieces that end anywhere, and the reader forgets all but the row between any two of them."""
    folder = tmp_path / "run"
    events = EventWriter(folder, 1)
    events.emit("start", attempt=1, from_step=0, **START)
    for step in range(1, 31):
        events.metrics(step, {"train/loss": float(step), "lr": 0.1})
        events.emit("log", line=f"at {step}")
    events.emit("finding", step=30, kind="k", level="warn", message="m", evidence={})
    events.emit("checkpoint", step=30, epoch=3, sha256="s", size=1, metrics={}, best=True)
    events.close()
    whole = events.path.read_bytes()
    events.path.write_bytes(b"")
    ends = [*range(0, len(whole), 173), len(whole)]
    for start, end in pairwise(ends):
        with events.path.open("ab") as file:
            file.write(whole[start:end])
        with database.read() as session:
            again = session.exec(select(Run)).one()
        drain(database, again, folder)
    assert losses(database) == [(step, float(step)) for step in range(1, 31)]
    with database.read() as session:
        assert [line.line for line in session.exec(select(LogLine)).all()] == [f"at {step}" for step in range(1, 31)]
        assert len(session.exec(select(Finding)).all()) == len(session.exec(select(Checkpoint)).all()) == 1
        stored = session.exec(select(Run)).one()
    assert (stored.step, stored.tail_offset) == (30, len(whole))


def test_a_rewind_takes_back_all_that_is_past_it(database: Database, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = EventWriter(folder, 1)
    first.emit("start", attempt=1, from_step=0, **START)
    for step, acc in ((10, 0.3), (20, 0.6), (30, 0.5)):
        first.metrics(step, {"val/acc": acc, "val/loss": 1.0, "train/loss": 1.0})
        first.emit(
            "checkpoint", step=step, epoch=step // 10, sha256="s", size=1, metrics={"val/acc": acc}, best=acc == 0.6
        )
        first.emit("finding", step=step, kind="k", level="fail", message="m", evidence={})
        if step == 20:
            first.emit("finding_ended", step=25, kind="k")
    first.close()
    drain(database, run, folder)
    assert (run.best_acc, run.best_step, run.best_epoch) == (0.6, 20, 2)
    second = EventWriter(folder, 2)
    second.emit("start", attempt=2, from_step=10, **START)
    second.close()
    drain(database, run, folder)
    with database.read() as session:
        assert [row.step for row in session.exec(select(Checkpoint)).all()] == [10]
        assert [row.step for row in session.exec(select(Finding)).all()] == [10]
        stored = session.exec(select(Run)).one()
    assert (stored.step, stored.epoch) == (10, 1)
    assert stored.best_step in (10, None)
    assert stored.spark["step"] == [10]
    assert Metrics(database).read("run", ["val/acc"])["series"]["val/acc"]["step"] == [10]


@pytest.mark.parametrize(("select_by", "best"), [("acc", 20), ("loss", 10), ("macro_f1", 30)])
def test_the_best_step_is_that_of_the_figure_that_selects(
    database: Database, run: Run, tmp_path: Path, select_by: str, best: int
) -> None:
    folder = tmp_path / "run"
    with database.write() as session:
        row = session.exec(select(Run)).one()
        row.spec = {**row.spec, "select_by": select_by}
    with database.read() as session:
        run = session.exec(select(Run)).one()
    first = EventWriter(folder, 1)
    first.emit("start", attempt=1, from_step=0, **START)
    for step, acc, loss, f1 in ((10, 0.3, 1.0, 0.1), (20, 0.6, 2.0, 0.2), (30, 0.5, 1.5, 0.4)):
        values = {"val/acc": acc, "val/loss": loss, "val/macro_f1": f1}
        first.metrics(step, values)
        first.emit("checkpoint", step=step, epoch=step // 10, sha256="s", size=1, metrics=values, best=step == best)
    first.close()
    drain(database, run, folder)
    expected = {10: 0.3, 20: 0.6, 30: 0.5}[best]
    assert (run.best_step, run.best_acc, run.summary["best/acc"]) == (best, expected, expected)
    second = EventWriter(folder, 2)
    second.emit("start", attempt=2, from_step=10, **START)
    second.close()
    drain(database, run, folder)
    kept = run.best_step == 10
    assert (run.best_acc, "best/acc" in run.summary) == ((0.3, True) if kept else (None, False))


def test_a_finding_ends_and_holds_again_after_a_rewind(database: Database, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = EventWriter(folder, 1)
    first.emit("start", attempt=1, from_step=0, **START)
    first.emit("finding", step=5, kind="k", level="fail", message="m", evidence={"a": 1})
    first.emit("finding_ended", step=20, kind="k")
    first.emit("finding_ended", step=20, kind="unknown")
    first.close()
    drain(database, run, folder)
    with database.read() as session:
        assert [row.evidence for row in session.exec(select(Finding)).all()] == [{"a": 1, "ended": 20}]
    second = EventWriter(folder, 2)
    second.emit("start", attempt=2, from_step=10, **START)
    second.close()
    drain(database, run, folder)
    with database.read() as session:
        assert [row.evidence for row in session.exec(select(Finding)).all()] == [{"a": 1}]


def test_nan_is_kept_but_never_the_best(database: Database, run: Run, tmp_path: Path) -> None:
    events = EventWriter(tmp_path / "run", 1)
    events.emit("start", attempt=1, from_step=0, **START)
    for step, acc in ((10, math.nan), (20, 0.4), (30, math.inf), (40, math.nan)):
        events.metrics(step, {"val/acc": acc, "train/loss": acc})
    events.close()
    drain(database, run, tmp_path / "run")
    assert (run.best_acc, run.best_step) == (0.4, 20)
    found = Metrics(database).read("run", ["val/acc"])["series"]["val/acc"]
    assert found["value"] == [None, 0.4, None, None]
    assert [item["kind"] for item in found["nonfinite"]] == ["NaN", "Infinity", "NaN"]


def test_a_claim_lost_midway_rolls_everything_back(database: Database, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    events = EventWriter(folder, 1)
    events.emit("start", attempt=1, from_step=0, **START)
    events.metrics(1, {"train/loss": 1.0})
    drain(database, run, folder)
    with database.read() as session:
        before = len(session.exec(select(Change)).all())
    events.emit("log", line="x")
    events.emit("finding", step=1, kind="k", level="warn", message="m", evidence={})
    events.emit("checkpoint", step=1, epoch=0, sha256="s", size=1, metrics={}, best=False)
    events.metrics(2, {"train/loss": 2.0, "new": 1.0})
    events.close()
    stale = run.model_copy(update={"claim": 0})
    with pytest.raises(LostClaim), database.write() as session:
        ingest(session, stale, folder)
    assert losses(database) == [(1, 1.0)]
    with database.read() as session:
        assert len(session.exec(select(Change)).all()) == before
        for table in (LogLine, Finding, Checkpoint):
            assert session.exec(select(table)).all() == []
    drain(database, run, folder)
    assert losses(database) == [(1, 1.0), (2, 2.0)]


def test_series_that_are_new_before_a_start_in_the_same_block(database: Database, run: Run, tmp_path: Path) -> None:
    events = EventWriter(tmp_path / "run", 1)
    for step in (1, 2, 3):
        events.metrics(step, {"train/loss": float(step)})
    events.emit("start", from_step=1, **START)
    for step in (1, 2, 4):
        events.metrics(step, {"train/loss": 10.0 * step})
    events.close()
    drain(database, run, tmp_path / "run")
    assert losses(database) == [(1, 1.0), (2, 20.0), (4, 40.0)]
