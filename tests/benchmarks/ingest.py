"""Ingest rate from an event file to committed rows, and the trainer's time per event."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from app.jobs.ingest import ingest
from app.jobs.tail import is_behind
from app.storage.db import Database
from app.storage.tables import Run, Status
from tests.benchmarks.rows import Row
from trainer.rundir.events import EventWriter

SERIES = 4


def measure(steps: int = 250_000) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        run_dir.mkdir()
        database = Database(f"sqlite:///{folder}/trackside.db")
        database.migrate()
        emit_seconds = write_events(run_dir, steps)
        run = Run(
            id="run",
            name="run",
            dataset="d",
            model="cnn",
            spec={"batch_size": 64},
            attempt=1,
            claim=1,
            status=Status.RUNNING,
        )
        with database.write() as session:
            session.add(run)
        started = time.perf_counter()
        ingested(database, run, run_dir)
        rate = steps * SERIES / (time.perf_counter() - started)
        database.close()
    cost = 1e6 * emit_seconds / (steps * SERIES)
    return [
        Row("ingest: event file → committed rows", "≥ 200,000 scalars/s", f"{rate:,.0f} scalars/s", rate >= 200_000),
        Row("trainer's own cost of a scalar", "≤ 10 µs", f"{cost:.2f} µs", cost <= 10),
    ]


def ingested(database: Database, run: Run, run_dir: Path) -> None:
    while is_behind(run, run_dir):
        with database.write(durable=False) as session:
            ingest(session, run, run_dir)


def write_events(run_dir: Path, steps: int) -> float:
    """Write `steps` events with four values each and return the seconds spent."""
    events = EventWriter(run_dir, 1)
    events.emit(
        "start", attempt=1, from_step=0, total_steps=steps, steps_per_epoch=700, epochs=steps // 700, device="cpu",
        val_count=5000,
    )  # fmt: skip
    started = time.perf_counter()
    for step in range(1, steps + 1):
        events.metrics(step, {"train/loss": 4.6 / step, "train/acc": 0.5, "lr": 1e-3, "throughput": 1234.5})
    spent = time.perf_counter() - started
    events.close()
    return spent
