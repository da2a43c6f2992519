"""Estimates of a run's duration and memory on this device, from runs that were trained here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from typing import Any, Literal

from sqlalchemy import Text
from sqlmodel import Session, cast, col, select

from app.errors import ApiError
from app.host.workers import seen_workers
from app.prediction.client import Description, PredictorClient
from app.storage.db import Database
from app.storage.tables import Run, Source, Status
from trainer.data.format import DatasetRecord
from trainer.plan.schedule import Plan, learning_rate
from trainer.spec.catalog import is_custom
from trainer.spec.model_spec import ModelSpec
from trainer.spec.part import STORED
from trainer.spec.train_spec import TrainSpec

Basis = Literal["set", "measured", "estimated"]

RECENT = 200
MIN_STEPS = 100  # shorter runs are left out: startup dominates their duration
SAME_RUNS = 3  # the median is taken over at most this many runs with the same settings
MAX_RATES = 3  # networks compared for an estimate by FLOPs
SAME_SETTINGS = ("model", "batch_size", "devices", "augment", "precision", "compile")
# Bytes that a trainer holds before it loads a run, and that compiling adds, measured on a CPU (Linux, torch 2.14).
BASE, COMPILED = 540 << 20, 250 << 20
STATE_TENSORS = {"adam": 2, "adamw": 2}  # tensors of the weights' size in the optimizer's state; 1 for others


@dataclass(frozen=True)
class Pace:
    """Seconds per step of a run that was trained here: its whole duration divided by its steps."""

    spec: TrainSpec
    seconds: float


def paces(session: Session, device: str | None) -> list[Pace]:
    """Return the paces of the latest runs that finished in one attempt, newest first; only those of `device` if given.

    `device` is a kind such as "cpu" or "cuda".
    """
    statement = (
        select(col(Run.started_at), col(Run.finished_at), Run.step, cast(col(Run.spec), Text))
        .where(Run.source == Source.TRACKSIDE, Run.status == Status.FINISHED, Run.attempt == 1, Run.step >= MIN_STEPS)
        .order_by(col(Run.finished_at).desc())
        .limit(RECENT)
    )
    if device:
        statement = statement.where(col(Run.device).startswith(device, autoescape=True))
    found = []
    for started_at, finished_at, step, spec in session.exec(statement).all():
        if started_at is None or finished_at is None:
            continue
        found.append(Pace(_spec_of(spec), (finished_at - started_at).total_seconds() / step))
    return found


@lru_cache(2 * RECENT)
def _spec_of(text: str) -> TrainSpec:
    """Parse a spec. A finished run's does not change, and a preview reads the same ones at each keystroke."""
    return TrainSpec.model_validate_json(text, context=STORED)


def measured(spec: TrainSpec, known: Sequence[Pace]) -> float | None:
    """Return the median seconds per step of runs with the same settings; None if there are none."""
    work = _work(spec)
    same = [pace.seconds for pace in known if _work(pace.spec) == work][:SAME_RUNS]
    return median(same) if same else None


def _work(spec: TrainSpec) -> tuple[Any, ...]:
    return (*(getattr(spec, name) for name in SAME_SETTINGS), spec.dataset.name, spec.optimizer.name)


Describe = Callable[[ModelSpec, int, int], Awaitable[Description | None]]


async def estimated(
    spec: TrainSpec, flops: int, known: Sequence[Pace], describe: Describe, record: DatasetRecord
) -> float | None:
    """Estimate seconds per step from the FLOPs per second of the past run whose network has the nearest FLOPs.

    `flops` are those of the network for one image. None if there is no run to compare with.
    """
    rates: list[tuple[float, float]] = []
    seen: set[str] = set()
    for pace in known:
        model = pace.spec.model.model_dump_json()
        if model in seen or len(seen) == MAX_RATES:
            continue
        seen.add(model)
        found = await describe(pace.spec.model, len(record.classes), record.size)
        if found is not None and found.flops:
            ratio = max(found.flops, flops) / max(1, min(found.flops, flops))
            rates.append((ratio, found.flops * pace.spec.batch_size / pace.seconds))
    return flops * spec.batch_size / min(rates)[1] if rates else None


def memory(spec: TrainSpec, found: Description, record: DatasetRecord, plan: Plan) -> int:
    """Estimate a trainer's memory on a CPU in bytes: process, images, weights and states, and a batch's activations."""
    images = sum(map(record.count, record.splits)) * record.size**2 * 3
    tensors = 2 + STATE_TENSORS.get(spec.optimizer.name, 1) + (1 if spec.optimizer.ema else 0)
    at_once = -(-plan.batch_size // (spec.gradient_accumulation * spec.devices))
    kept = found.saved_bytes * at_once // (1 if spec.precision == "float32" else 2)
    compiled = COMPILED if spec.model.name == "cnn" and spec.compile != "off" else 0
    return BASE + compiled + images + 4 * found.parameters * tensors + kept


PREVIEW_POINTS = 200
DESCRIBE_SECONDS = 1.0  # short: a preview is shown while a user types


def device_kind(database: Database) -> str | None:
    """Return the kind of the workers' devices ("cpu", "cuda"); None if there is no worker or they differ."""
    kinds = {worker.device.split(":")[0] for worker in seen_workers(database)}
    return kinds.pop() if len(kinds) == 1 else None


async def duration_of(
    spec: TrainSpec,
    plan: Plan,
    past: list[Pace],
    known: Description | None,
    predictor: PredictorClient,
    record: DatasetRecord,
) -> tuple[float | None, Basis | None]:
    if spec.budget.minutes is not None:
        return 60 * spec.budget.minutes, "set"
    steps = min(plan.total_steps, spec.max_steps or plan.total_steps)
    if (pace := measured(spec, past)) is not None:
        return pace * steps, "measured"
    if known is None:
        return None, None

    async def describe(model: ModelSpec, classes: int, size: int) -> Description | None:
        return await describe_or_none(predictor, model, classes, size)

    pace = await estimated(spec, known.flops, past, describe, record)
    return (None, None) if pace is None else (pace * steps, "estimated")


async def describe_or_none(predictor: PredictorClient, model: ModelSpec, classes: int, size: int) -> Description | None:
    """Describe a network in the predictor, which has torch. None for a custom model or if no predictor runs."""
    if is_custom(model.name):
        return None  # a preview does not run users' code
    try:
        return await predictor.describe(model, classes, size, DESCRIBE_SECONDS)
    except ApiError as error:
        if error.status == 503:
            return None
        raise


def rate_curve(plan: Plan, first: int) -> dict[str, list[Any]]:
    """Return at most PREVIEW_POINTS steps from `first` to the plan's end and their learning rates, as in training."""
    span = plan.total_steps - 1 - first
    steps = sorted({first + round(i * span / (PREVIEW_POINTS - 1)) for i in range(PREVIEW_POINTS)})
    return {"step": steps, "value": [learning_rate(plan, step) for step in steps]}
