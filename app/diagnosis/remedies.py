"""What became of the copies that were launched as remedies, and which remedy is offered next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field
from sqlmodel import Session, col, select

from app.runs.public import RunPublic, public
from app.storage.tables import Run, Status
from trainer.diagnosis.alternatives import alternatives
from trainer.spec.preset import differences

BETTER_Z = 2.0  # standard errors of the difference of the validation accuracies
ENDED = (Status.FINISHED, Status.FAILED, Status.STOPPED)
Outcome = Literal["unfinished", "better", "no better", "not comparable"]


class Remedy(BaseModel):
    label: str
    overrides: dict[str, Any] = Field(description="Overrides for a clone of the run")


class Trial(BaseModel):
    """A copy of a run that differs by exactly a remedy's overrides."""

    run: str
    name: str
    label: str
    outcome: Outcome
    text: str = Field(description="The outcome in words, with the numbers compared")


def children_of(session: Session, run_id: str) -> list[RunPublic]:
    """The copies of a run that started from scratch, oldest first."""
    query = select(Run).where(col(Run.parent) == run_id, col(Run.parent_step).is_(None)).order_by(col(Run.key))
    return [public(row) for row in session.exec(query).all()]


def trials_of(run: RunPublic, children: Sequence[RunPublic], remedy: Remedy) -> list[Trial]:
    """The copies that tested `remedy`."""
    return [
        _trial(run, child, remedy.label)
        for child in children
        if changed_by(run, child).items() == remedy.overrides.items()
    ]


def changed_by(run: RunPublic, copy: RunPublic) -> dict[str, Any]:
    """The settings of a copy that differ from the run's: their new values."""
    found = differences(copy.train_spec, run.train_spec)
    return {name: new for name, (_, new) in found.items() if not name.startswith("dataset.")}


def offered(
    run: RunPublic,
    kind: str,
    remedy: Remedy | None,
    children: Sequence[RunPublic],
    parent: RunPublic | None,
    *,
    has_evidence: bool,
) -> Remedy | None:
    """The remedy to offer now: the finding's own, unless it did not help, then that of the next cause.

    The same kind of step is not offered again after one that did not help, unless the finding has evidence of its own.
    """
    if remedy is None:
        return None
    step = {} if parent is None or not _did_not_help(parent, run) else changed_by(parent, run)
    repeated = bool(step) and step.keys() == remedy.overrides.keys()
    if not (repeated and not has_evidence) and not _tried_in_vain(run, children, remedy):
        return remedy
    candidates = (Remedy(label=item.label, overrides=item.overrides) for item in alternatives(run.train_spec, kind))
    return next(
        (
            item
            for item in candidates
            if not item.overrides.keys() & step.keys() and not _tried_in_vain(run, children, item)
        ),
        None,
    )


def _tried_in_vain(run: RunPublic, children: Sequence[RunPublic], remedy: Remedy) -> bool:
    return any(trial.outcome == "no better" for trial in trials_of(run, children, remedy))


def _did_not_help(run: RunPublic, copy: RunPublic) -> bool:
    return _trial(run, copy, "").outcome == "no better"


def _trial(run: RunPublic, copy: RunPublic, label: str) -> Trial:
    outcome, text = _compared(run, copy)
    return Trial(run=copy.id, name=copy.name, label=label, outcome=outcome, text=text)


def _compared(run: RunPublic, copy: RunPublic) -> tuple[Outcome, str]:
    if copy.status not in ENDED:
        return "unfinished", f"{copy.status}"
    if copy.best_acc is None:
        return ("no better", "ended before its first evaluation") if copy.status == Status.FAILED else (
            "not comparable", "stopped before its first evaluation",
        )  # fmt: skip
    if run.best_acc is None:
        return "better", f"validation accuracy {100 * copy.best_acc:.3g}%; this run has none"
    count = min(run.val_count or 0, copy.val_count or 0)
    pooled = (run.best_acc + copy.best_acc) / 2
    error = math.sqrt(max(pooled * (1 - pooled), 1e-9) * 2 / max(1, count))
    text = f"validation accuracy {100 * copy.best_acc:.3g}%, this run {100 * run.best_acc:.3g}%"
    return ("better" if copy.best_acc - run.best_acc > BETTER_Z * error else "no better"), text
