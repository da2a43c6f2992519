"""Published results beside the results of runs of the same presets on this server."""

from __future__ import annotations

from pydantic import BaseModel, Field
from sqlmodel import Session, col, select

from app.display.formatting import setting
from app.display.labels import short_word
from app.metrics.reader import Metrics
from app.results.outcomes import summary_number
from app.results.reported import REPORTED, Reported
from app.runs.public import RunPublic, public
from app.runs.query import rows_by_key
from app.runs.setup import setup_of
from app.storage.db import Database
from app.storage.tables import Run, Status
from trainer.data.cifar100 import known_superclasses
from trainer.data.format import DatasetRecord

MOST_RUNS = 500
POINTS = 2000


class ReportedHere(BaseModel):
    """A reported number; what was obtained is null where no run of the preset has finished on CIFAR-100 here."""

    preset: str
    metric: str
    is_share: bool
    reported: float
    note: str
    source: str
    obtained: float | None
    run: str | None
    name: str | None
    differs: str = Field(description="What the run has otherwise than the preset.")


def reported_here(database: Database, dataset: str, record: DatasetRecord | None) -> list[ReportedHere]:
    """Return all published results, with those of runs here if the dataset has CIFAR-100's classes."""
    found: dict[str, RunPublic] = {}
    if record is not None and known_superclasses(record.classes) is not None:
        with database.read() as session:
            found = _closest_runs(session, dataset)
    metrics = Metrics(database)
    return [_with_result_of(item, found.get(item.preset), metrics) for item in REPORTED]


def _closest_runs(session: Session, dataset: str) -> dict[str, RunPublic]:
    """Return per preset the finished run with the fewest changes; among equals the one with the best accuracy."""
    presets = {item.preset for item in REPORTED}
    rows = session.exec(
        select(Run.key, Run.preset, Run.changed)
        .where(Run.dataset == dataset, Run.status == Status.FINISHED, col(Run.preset).in_(presets))
        .order_by(col(Run.best_acc).desc(), col(Run.key).desc())
        .limit(MOST_RUNS)
    ).all()
    chosen: dict[str | None, tuple[int, int | None]] = {}
    for key, preset, changed in rows:
        change_count = len([item for item in changed if item["field"] != "seed"])
        if preset not in chosen or change_count < chosen[preset][0]:
            chosen[preset] = (change_count, key)
    keys = [key for _, key in chosen.values()]
    return {row.preset: public(row) for row in rows_by_key(session, keys) if row.preset}


def _with_result_of(item: Reported, run: RunPublic | None, metrics: Metrics) -> ReportedHere:
    return ReportedHere(
        preset=item.preset,
        metric=item.metric if item.epoch is None else f"{item.metric} at epoch {item.epoch}",
        is_share=item.metric.is_share,
        reported=item.value,
        note=item.note,
        source=item.source,
        obtained=None if run is None else _obtained(item, run, metrics),
        run=run and run.id,
        name=run and run.name,
        differs="" if run is None else _differences(run),
    )


def _obtained(item: Reported, run: RunPublic, metrics: Metrics) -> float | None:
    if item.metric.summary is not None:
        return summary_number(run, item.metric.summary)
    assert item.metric.series is not None
    points = metrics.read(run.id, [item.metric.series], POINTS)["series"].get(item.metric.series)
    if points is None:
        return None
    last_step = run.step if item.epoch is None else item.epoch * (run.steps_per_epoch or 0)
    if last_step > run.step:
        return None  # the run ended before this epoch
    values = [value for step, value in zip(points["step"], points["value"], strict=True) if step <= last_step]
    value: float | None = values[-1] if values else None
    return value


def _differences(run: RunPublic) -> str:
    changed = [item for item in setup_of(run)[1] if item.field != "seed"]
    return ", ".join(f"{short_word(item.field)} {setting(item.old)} → {setting(item.new)}" for item in changed)
