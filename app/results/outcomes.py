"""Metrics of single runs, for comparisons and result tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

from sqlmodel import Session, col, select

from app.display.intervals import half_width
from app.runs.public import RunPublic, took
from app.storage.tables import Checkpoint, Run


def losses_at_best(session: Session, ids: Sequence[str]) -> dict[str, float]:
    """Return the validation loss at its best step per run id, for runs whose checkpoint of that step has it."""
    rows = session.exec(
        select(Run.id, Checkpoint.metrics)
        .join(Checkpoint, (col(Checkpoint.run) == Run.key) & (col(Checkpoint.step) == Run.best_step))
        .where(col(Run.id).in_(ids))
    ).all()
    return {run_id: metrics["val/loss"] for run_id, metrics in rows if _is_number(metrics.get("val/loss"))}


def half_width_of(run: RunPublic) -> float | None:
    """Half the width of the 95% Wilson interval of the best validation accuracy; None without validation."""
    return None if run.best_acc is None or not run.val_count else half_width(run.best_acc, run.val_count)


def parameters_of(run: RunPublic) -> int | None:
    """Return the number of parameters; None for runs that were trained before it was recorded."""
    count = run.summary.get("parameters")
    return count if isinstance(count, int) else None


def summary_number(run: RunPublic, name: str) -> float | None:
    value = run.summary.get(name)
    return float(value) if _is_number(value) else None


def seconds_of(run: RunPublic) -> float | None:
    """Return the seconds from start to end, pauses included; None for a run that has not ended."""
    return took(run)


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
