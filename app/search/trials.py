"""The trials of a search as its runs tell them: read from the database, whose source is the run directories."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from app.metrics.reader import every_point
from app.search.requests import NewSearch
from app.search.rungs import rung_steps
from app.storage.tables import ACTIVE, Run, Series, Status
from trainer.rundir.hold import held_at


class State(StrEnum):
    """`paused`: trained up to a rung, and may go on; `complete`: trained to its end."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    PRUNED = "pruned"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True)
class Trial:
    """`values` are the best value of the objective so far, by the step of each validation. `rungs` are the steps of the
    rungs, the last of which is the end of the training; `rung` is the number of those that it has reached.
    """

    number: int
    run: str
    name: str
    status: Status
    params: dict[str, Any]
    values: tuple[tuple[int, float], ...]
    step: int
    rungs: tuple[int, ...]
    rung: int
    state: State
    seconds: float

    @property
    def value(self) -> float | None:
        return self.values[-1][1] if self.values else None

    @property
    def is_active(self) -> bool:
        return self.state in (State.QUEUED, State.RUNNING)

    def value_at(self, rung: int) -> float | None:
        """The best value of the objective when the rung was reached."""
        found = [value for step, value in self.values if step <= self.rungs[rung]]
        return found[-1] if found else None


def trials_of(session: Session, search_id: str, search: NewSearch, runs: Path) -> list[Trial]:
    """The trials in the order of their numbers. `runs` is the folder of the run directories."""
    rows = session.exec(select(Run).where(Run.search == search_id).order_by(col(Run.trial), col(Run.key))).all()
    first: dict[int, Run] = {}
    for row in rows:
        if row.trial is not None:
            first.setdefault(row.trial, row)
    return [_trial(session, row, search, runs) for row in first.values()]


def _trial(session: Session, row: Run, search: NewSearch, runs: Path) -> Trial:
    better: Callable[[float, float], float] = min if search.minimizes else max
    values: list[tuple[int, float]] = []
    for step, value in _evaluations(session, row, search.objective):
        values.append((step, value if not values else better(values[-1][1], value)))
    total, status = row.total_steps or 0, Status(row.status)
    rungs = rung_steps(search.pruner, total, row.steps_per_epoch or 1)
    ended = status not in (Status.QUEUED, *ACTIVE)
    reached = sum(row.step >= step for step in rungs) if ended else sum(row.step > step for step in rungs[:-1])
    return Trial(
        number=row.trial or 0,
        run=row.id,
        name=row.name,
        status=status,
        params=row.params or {},
        values=tuple(values),
        step=row.step,
        rungs=rungs,
        rung=reached,
        state=_state(status, row, rungs, is_held=held_at(runs / row.id) is not None),
        seconds=float(row.summary.get("elapsed_seconds", 0.0)),
    )


def _evaluations(session: Session, row: Run, series: str) -> list[tuple[int, float]]:
    """The finite values of the series, with their steps."""
    known = session.exec(select(Series).where(Series.run == row.key, Series.name == series)).first()
    if known is None:
        return []
    points = every_point(session, known)
    pairs = zip(points.steps.tolist(), points.values.tolist(), strict=True)
    return [(step, value) for step, value in pairs if math.isfinite(value)]


def _state(status: Status, row: Run, rungs: Sequence[int], *, is_held: bool) -> State:
    if status in ACTIVE:
        return State.RUNNING
    if status in (Status.QUEUED, Status.FAILED):
        return State.QUEUED if status == Status.QUEUED else State.FAILED
    if status == Status.FINISHED or row.step >= rungs[-1]:
        return State.COMPLETE
    return State.PAUSED if is_held and row.step in rungs else State.PRUNED
