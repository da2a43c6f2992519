"""`python -m tests.benchmarks.feeder HOME RUNS RATE`: emit and ingest events of several runs at a constant rate."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

from app.jobs.ingest import ingest
from app.jobs.tail import is_behind
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Run, Status
from trainer.rundir.events import EventWriter
from trainer.spec.preset import build_spec

STEPS_PER_EPOCH = 700
TICK_SECONDS = 0.02
ATTEMPT = 1


def main(home: Path, count: int, rate: float) -> None:
    """Emit `rate` events per second and run, with six values each, until the process is killed."""
    settings = Settings(home=home)
    database = Database(settings.url)
    spec = build_spec("shapes100", "baseline-cnn").model_dump(mode="json")
    runs, writers = [], []
    for index in range(count):
        run = Run(
            id=f"live{index}", name=f"live {index}", dataset="shapes100", model="cnn", preset="baseline-cnn", spec=spec,
            status=Status.RUNNING, claim=1, attempt=ATTEMPT, total_steps=10**6, steps_per_epoch=STEPS_PER_EPOCH,
        )  # fmt: skip
        with database.write() as session:
            session.add(run)
        folder = settings.runs / run.id
        folder.mkdir(parents=True)
        writer = EventWriter(folder, ATTEMPT)
        writer.emit(
            "start", attempt=ATTEMPT, from_step=0, total_steps=10**6, steps_per_epoch=STEPS_PER_EPOCH, epochs=1428,
            device="cpu", val_count=5000,
        )  # fmt: skip
        runs.append((run, folder))
        writers.append(writer)
    print("fed", flush=True)
    started, step = time.monotonic(), 0
    while True:
        step += 1
        time.sleep(max(0.0, started + step / rate - time.monotonic()))
        loss = 4.6 / math.log(step + 3)
        values = {
            "train/loss": loss, "train/acc": 1 - loss / 5, "lr": 1e-3, "throughput": 1e3, "grad/norm": loss,
            "update/ratio": 1e-3,
        }  # fmt: skip
        for writer, (run, folder) in zip(writers, runs, strict=True):
            writer.metrics(step, values)
            while is_behind(run, folder):
                with database.write(durable=False) as session:
                    ingest(session, run, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
