"""What has happened that somebody wants to be told of: read from the live feed's rows."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import func
from sqlmodel import Session, col, select

from app.alerts.journal import Delivery
from app.alerts.requests import Occasion
from app.alerts.store import Alert
from app.display.formatting import duration, metric, metric_name
from app.storage.tables import ACTIVE, Change, Run, Status

BLOCK = 1000
LOW_SHARE, LOW_BYTES = 0.05, 5 << 30  # of the disk, whichever is less
PROBLEMS = ("fail", "problem")  # levels of findings
SHOWN = ("best/val_acc", "test/acc", "val/loss", "best/acc")  # of the summary, in a message


@dataclass(frozen=True)
class Seen:
    """The messages that the changes up to `seq` make due."""

    deliveries: list[Delivery]
    seq: int


def look(session: Session, alerts: Sequence[Alert], after: int | None, address: str) -> Seen | None:
    """Look at the changes after `after`; None if there are none. Without `after`, only what comes later counts."""
    newest = session.exec(select(func.max(Change.seq))).one() or 0
    if after is None or after > newest:  # the database was made anew
        return Seen([], newest)
    rows = session.exec(select(Change).where(col(Change.seq) > after).order_by(col(Change.seq)).limit(BLOCK)).all()
    if not rows:
        return None
    wanted = [alert for alert in alerts if set(alert.request.on) - {Occasion.DISK_LOW}]
    deliveries = [d for row in rows for d in _of_change(session, row, wanted, address)] if wanted else []
    return Seen(deliveries, rows[-1].seq or 0)


def disk_is_low(alerts: Sequence[Alert], home: Path, now: float) -> list[Delivery]:
    """A message a day to each alert that asks for it, while there is little room."""
    usage = shutil.disk_usage(home)
    if usage.free >= min(LOW_BYTES, LOW_SHARE * usage.total):
        return []
    day = time.strftime("%Y-%m-%d", time.gmtime(now))
    title = "Trackside: the disk is almost full"
    body = f"{usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB are free. Delete checkpoints or runs, or make room."
    wanted = [alert for alert in alerts if Occasion.DISK_LOW in alert.request.on]
    return [Delivery(f"{alert.id}:disk:{day}", alert.id, title, body, now) for alert in wanted]


def _of_change(session: Session, row: Change, alerts: Sequence[Alert], address: str) -> Iterator[Delivery]:
    if row.kind not in ("status", "finding", "metrics"):
        return
    payload: dict[str, Any] = orjson.loads(row.payload)
    if row.kind == "status" and payload.get("status") not in (Status.FINISHED, Status.FAILED, Status.STOPPED):
        return
    if row.kind == "finding" and payload.get("level") not in PROBLEMS:
        return
    run: Run | None = None
    for alert in alerts:
        if row.kind == "metrics" and Occasion.THRESHOLD not in alert.request.on:
            continue
        run = run or session.exec(select(Run).where(Run.id == row.run)).first()
        if run is None:
            return
        if row.kind == "status" and Occasion.QUEUE_EMPTY in alert.request.on and _is_idle(session):
            body = f"The last run, {run.name}, is {run.status}."
            yield Delivery(f"{alert.id}:queue:{run.id}:{run.attempt}", alert.id, "The queue is empty", body, row.time)
        if _is_meant(alert, run) and (told := _told(alert, row.kind, payload, run)) is not None:
            key, title, body = told
            link = f"\n{address}/runs/{run.id}" if address else ""
            yield Delivery(f"{alert.id}:{run.id}:{run.attempt}:{key}", alert.id, title, body + link, row.time)


def _is_meant(alert: Alert, run: Run) -> bool:
    asked = alert.request
    return asked.run in (None, run.id) and asked.project in (None, run.project)


def _told(alert: Alert, kind: str, payload: dict[str, Any], run: Run) -> tuple[str, str, str] | None:
    """The key, title and text of a message; None if the alert does not ask for it."""
    asked = alert.request
    if kind == "finding" and Occasion.PROBLEM in asked.on:
        key = f"{payload['kind']}:{payload['step']}"
        return key, f"Problem in {run.name}", f"Step {payload['step']:,}: {payload['message']}"
    if kind == "status" and payload["status"] in asked.on:
        return payload["status"], f"{run.name} {payload['status']}", _about(run)
    if kind == "metrics" and asked.threshold is not None:
        series = payload["series"].get(asked.threshold.series, {"step": [], "value": []})
        for step, value in zip(series["step"], series["value"], strict=True):
            if value is not None and asked.threshold.is_passed(value):
                side = "above" if asked.threshold.above is not None else "below"
                limit = asked.threshold.above if asked.threshold.above is not None else asked.threshold.below
                text = f"{asked.threshold.series} is {value:.6g} at step {step:,}, {side} {limit:g}."
                return "threshold", f"{run.name}: {asked.threshold.series} is {side} {limit:g}", text
    return None


def _about(run: Run) -> str:
    parts = []
    if run.error:
        parts.append(str(run.error.get("message", "")))
    for name in SHOWN:
        if isinstance(run.summary.get(name), int | float):
            parts.append(f"{metric_name(name)} {metric(name, run.summary[name])}")
    if run.started_at is not None and run.finished_at is not None:
        parts.append(f"after {duration((run.finished_at - run.started_at).total_seconds())}")
    return ", ".join(part for part in parts if part) or f"at step {run.step:,}"


def _is_idle(session: Session) -> bool:
    waiting = col(Run.status).in_([Status.QUEUED, *ACTIVE])
    return session.exec(select(Run.key).where(waiting).limit(1)).first() is None
