"""The findings of a script run, from its points: judged once per new validation, by the worker that follows it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, select

from app.diagnosis.script_rules import Loss, Losses, judge
from app.metrics.loss_names import loss_of
from app.metrics.reader import points_of
from app.storage.changes import publish
from app.storage.tables import ENDED, Finding, Run, ScriptRecord, Series
from trainer.diagnosis.findings import Finding as Found

MOST_POINTS = 1_000  # of a loss that are looked at
PLAIN = 2  # how unusual the name of a loss may be
MOST_REPEATS = 2  # times that a kind of finding is told
ENDED_AT = "ended"
LEAST_NEW = 20  # training points between two judgments without validation, or a tenth of those there are


@dataclass
class Judged:
    """How many points of the losses there were at the last judgment; -1 before the first."""

    train: int = -1
    val: int = -1
    ended: bool = False


def judge_if_due(session: Session, run: Run, record: ScriptRecord, judged: Judged) -> bool:
    """Tell and end findings, if there is a new validation or the run has ended. Returns whether it was due."""
    train, val = (_series(session, run, name) for name in (record.train_loss, record.val_loss))
    totals = [0 if row is None else row.total for row in (train, val)]
    ended = run.status in ENDED
    if not _is_due(judged, *totals, ended=ended):
        return False
    judged.train, judged.val, judged.ended = *totals, ended
    losses = Losses(_loss(session, train), _loss(session, val), ended)
    _record(session, run, judge(losses))
    return True


def _is_due(judged: Judged, train: int, val: int, *, ended: bool) -> bool:
    if ended != judged.ended or val != judged.val:
        return train + val > 0
    return not val and train - judged.train >= max(LEAST_NEW, train // 10)


def _series(session: Session, run: Run, name: str | None) -> Series | None:
    if name is None or (found := loss_of(name)) is None or found[1] > PLAIN:
        return None
    return session.exec(select(Series).where(Series.run == run.key, Series.name == name)).first()


def _loss(session: Session, row: Series | None) -> Loss | None:
    if row is None or not row.total:
        return None
    points = points_of(session, row, MOST_POINTS)
    return Loss(row.name, points.steps, points.values)


def _record(session: Session, run: Run, found: list[Found]) -> None:
    known = session.exec(select(Finding).where(Finding.run == run.key).order_by(col(Finding.key))).all()
    holding = {row.kind: row for row in known if ENDED_AT not in row.evidence}
    kinds = {item.kind for item in found}
    for kind, row in holding.items():
        if kind not in kinds:
            row.evidence = {**row.evidence, ENDED_AT: run.step}
            session.add(row)
            publish(session, run.id, "finding", {"run": run.id, "kind": kind, "step": row.step, ENDED_AT: run.step})
    for item in found:
        if item.kind in holding or sum(row.kind == item.kind for row in known) >= MOST_REPEATS:
            continue
        values: dict[str, Any] = {"step": run.step, "kind": item.kind, "level": item.level, "message": item.message}
        session.add(Finding(run=run.key or 0, time=time.time(), evidence=item.evidence, **values))
        publish(session, run.id, "finding", {"run": run.id, **values})
