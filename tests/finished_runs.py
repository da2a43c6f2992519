"""Finished runs without training: a run directory, events that the real ingest reads, and validation answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from sqlmodel import select

from app.datasets.datasets import Datasets
from app.jobs.conclude import conclude
from app.jobs.ingest import ingest
from app.jobs.kinds import RUN
from app.jobs.tail import is_behind
from app.runs.launching import Launcher
from app.runs.requests import NewRun
from app.runs.runs import Runs
from app.storage.tables import Run, Status, now
from trainer.rundir.events import EventWriter

PER_EPOCH = 10
VAL_COUNT = 200


def finished_run(
    runs: Runs,
    accs: Sequence[float],
    *,
    preset: str = "baseline-cnn",
    dataset: str = "shapes100",
    wrong: Sequence[int] | None = None,
    first_row: int = 0,
    summary: dict[str, Any] | None = None,
    end: bool = True,
    **body: Any,
) -> str:
    """Create a run whose epochs had the validation accuracies `accs` and return its id.

    `wrong` lists the images that the best epoch misclassified, as indices into the VAL_COUNT validation images that
    start at `first_row`; with None, no answers are saved. With `end` False, the run has not finished.
    """
    request = {"dataset": dataset, "preset": preset, "overrides": {"epochs": len(accs)}, **body}
    run_id = Launcher(runs.database, runs.settings).create(NewRun.model_validate(request)).id
    with runs.database.write() as session:
        row = session.exec(select(Run).where(Run.id == run_id)).one()
        row.status, row.claim, row.attempt, row.started_at = Status.STARTING, 1, 1, now()
    events = EventWriter(runs.folder(run_id), 1)
    _emit_run(events, accs, summary, end)
    drain(runs, run_id)
    if wrong is not None:
        labels = Datasets(runs.settings.datasets).labels(dataset, "train")[first_row : first_row + VAL_COUNT]
        best = (max(range(len(accs)), key=lambda epoch: accs[epoch]) + 1) * PER_EPOCH
        keep_answers(runs.folder(run_id), best, first_row, labels, wrong)
    return run_id


def _emit_run(events: EventWriter, accs: Sequence[float], summary: dict[str, Any] | None, end: bool) -> None:
    total, best = len(accs) * PER_EPOCH, max(accs)
    events.emit(
        "start", attempt=1, from_step=0, total_steps=total, steps_per_epoch=PER_EPOCH, epochs=len(accs), device="cpu",
        val_count=VAL_COUNT, parameters=123_456,
    )  # fmt: skip
    events.emit("phase", phase="training")
    for epoch, acc in enumerate(accs):
        emit_epoch(events, epoch, acc, best=acc == best)
    if end:
        found = {"test/acc": best - 0.01, "test/loss": 2.5, "last/test/loss": 3.0} | (summary or {})
        events.emit("end", reason="finished", step=total, summary=found, error=None)
    events.close()


def emit_epoch(events: EventWriter, epoch: int, acc: float, *, best: bool) -> None:
    for step in range(epoch * PER_EPOCH + 1, (epoch + 1) * PER_EPOCH + 1):
        events.metrics(step, {"train/loss": 4.6 - acc - step / 100, "train/acc": acc})
    step = (epoch + 1) * PER_EPOCH
    values = {"val/acc": acc, "val/loss": 4.0 - acc}
    events.metrics(step, values)
    events.emit("epoch", step=step, epoch=epoch + 1)
    events.emit("checkpoint", step=step, epoch=epoch + 1, sha256="0", size=1, metrics=values, best=best)


def drain(runs: Runs, run_id: str) -> None:
    with runs.database.read() as session:
        row = session.exec(select(Run).where(Run.id == run_id)).one()
    while is_behind(row, runs.folder(run_id)):
        with runs.database.write() as session:
            if (end := ingest(session, row, runs.folder(run_id))) is not None:
                conclude(session, RUN, row, end)


def keep_answers(folder: Path, step: int, first_row: int, labels: npt.NDArray[np.int64], wrong: Sequence[int]) -> None:
    """Save validation answers in a shuffled order: readers have to match images by `row`."""
    guess = labels.astype(np.int16)
    guess[list(wrong)] = (guess[list(wrong)] + 1) % 100
    shuffled = np.random.default_rng(step).permutation(len(labels))
    tensors: dict[str, npt.NDArray[Any]] = {
        "row": (first_row + shuffled).astype(np.int32),
        "guess": guess[shuffled],
        "own": np.full(len(labels), 0.5, np.float16),
        "top": np.full(len(labels), 0.5, np.float16),
    }
    (folder / "artifacts" / "val").mkdir(parents=True, exist_ok=True)
    (folder / "artifacts" / "val" / f"{step:08d}.safetensors").write_bytes(safetensors.numpy.save(tensors))
