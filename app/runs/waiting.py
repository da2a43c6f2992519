"""How long a run that is launched now waits for a device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlmodel import Session, col, select

from app.runs.estimates import Pace, measured
from app.runs.public import public
from app.storage.tables import ACTIVE, Run, Source, Status
from trainer.data.format import DatasetRecord
from trainer.plan.schedule import make_plan


@dataclass(frozen=True)
class Waiting:
    """The active and queued runs, and when a new one starts, in seconds; None if that is not known of some of them."""

    active: int
    queued: int
    seconds: float | None


def waiting(
    session: Session, past: Sequence[Pace], records: Mapping[str, DatasetRecord], devices: int, needed: int = 1
) -> Waiting:
    """Estimate the wait for `needed` ones of `devices`: the next run starts as soon as as many are free as it needs."""
    unended = col(Run.status).in_([*ACTIVE, Status.QUEUED]), col(Run.source) == Source.TRACKSIDE
    statement = select(Run).where(*unended).order_by(col(Run.key))
    rows = session.exec(statement).all()
    active = [public(row).eta_seconds for row in rows if row.status in ACTIVE]
    queued = [row for row in rows if row.status == Status.QUEUED]
    startable = [row for row in queued if row.devices <= devices]
    durations = [_duration(row, past, records) for row in startable]
    known = [seconds for seconds in (*active, *durations) if seconds is not None]
    if len(known) < len(active) + len(durations) or not devices:
        return Waiting(len(active), len(queued), None)
    training = [row.devices for row in rows if row.status in ACTIVE]
    used = [seconds for seconds, count in zip(known, training, strict=False) for _ in range(count)]
    free = sorted(sorted([*used, *[0.0] * devices], reverse=True)[:devices])
    for seconds, row in zip(known[len(active) :], startable, strict=True):
        free = sorted([*[free[row.devices - 1] + seconds] * row.devices, *free[row.devices :]])
    return Waiting(len(active), len(queued), free[min(needed, devices) - 1])


def _duration(row: Run, past: Sequence[Pace], records: Mapping[str, DatasetRecord]) -> float | None:
    """Estimate a queued run's duration in seconds from runs with the same settings; None if there are none."""
    spec, record = public(row).train_spec, records.get(row.dataset)
    if spec.budget.minutes is not None:
        return 60 * spec.budget.minutes
    pace = measured(spec, past)
    if pace is None or record is None:
        return None
    held_out = 0 if record.val_count else round(record.train_count * spec.held_out_share)
    total = row.total_steps or make_plan(spec, record.train_count - held_out).total_steps
    return pace * max(0, total - row.step)


def lacking(devices: int, there: int) -> str:
    """Why a queued run on several `devices` cannot start, if no machine has as many; `there`: the most that one has."""
    if devices <= max(1, there):
        return ""
    return f"needs {devices} devices of one machine or of nodes, {there} {'is' if there == 1 else 'are'} there"
