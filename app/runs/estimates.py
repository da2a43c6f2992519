"""How long a run would take on this device, and how much memory, from runs that were trained here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from sqlmodel import Session, col, select

from app.errors import ApiError
from app.host.workers import seen_workers
from app.prediction.client import Description, PredictorClient
from app.storage.db import Database
from app.storage.tables import Run, Status
from trainer.data.format import DatasetRecord
from trainer.plan.schedule import Plan, learning_rate
from trainer.spec.catalog import is_custom
from trainer.spec.train_spec import ModelSpec, TrainSpec

Basis = Literal["set", "measured", "estimated"]

RECENT = 200
LEAST_STEPS = 100  # of shorter runs the time goes into their start
LIKE = 3  # as many runs of the same settings are taken the median of
RATES = 3
SAME = ("model", "batch_size", "augment", "precision", "compile")
# Bytes of a trainer before it holds anything of a run, measured on a CPU (Linux, torch 2.14); compiling keeps more.
BASE, COMPILED = 540 << 20, 250 << 20
STATES = {"adam": 2, "adamw": 2}  # tensors as large as the weights that an optimiser keeps; one where not named


@dataclass(frozen=True)
class Pace:
    """Seconds a step of a run that was trained here, all that a run does besides included."""

    spec: TrainSpec
    seconds: float


def paces(session: Session, device: str | None) -> list[Pace]:
    """Of the latest runs that went through in one attempt, newest first; of one kind of device, where it is given."""
    statement = (
        select(Run)
        .where(Run.status == Status.FINISHED, Run.attempt == 1, Run.step >= LEAST_STEPS)
        .order_by(col(Run.finished_at).desc())
        .limit(RECENT)
    )
    found = []
    for row in session.exec(statement).all():
        if row.started_at is None or row.finished_at is None or (device and not (row.device or "").startswith(device)):
            continue
        seconds = (row.finished_at - row.started_at).total_seconds() / row.step
        found.append(Pace(TrainSpec.model_validate(row.spec), seconds))
    return found


def measured(spec: TrainSpec, known: Sequence[Pace]) -> float | None:
    """Seconds a step, where runs of the same settings were trained."""
    like = [pace.seconds for pace in known if _work(pace.spec) == _work(spec)][:LIKE]
    return median(like) if like else None


def _work(spec: TrainSpec) -> dict[str, Any]:
    values = spec.model_dump(include=set(SAME))
    return values | {"dataset": spec.dataset.name, "optimizer": spec.optimizer.name}


Describe = Callable[[ModelSpec, int, int], Awaitable[Description | None]]


async def estimated(
    spec: TrainSpec, flops: int, known: Sequence[Pace], describe: Describe, record: DatasetRecord
) -> float | None:
    """Seconds a step by the operations a second of the run here whose network is the nearest in size."""
    rates: list[tuple[float, float]] = []
    seen: set[str] = set()
    for pace in known:
        model = pace.spec.model.model_dump_json()
        if model in seen or len(seen) == RATES:
            continue
        seen.add(model)
        found = await describe(pace.spec.model, len(record.classes), record.size)
        if found is not None and found.flops:
            apart = max(found.flops, flops) / max(1, min(found.flops, flops))
            rates.append((apart, found.flops * pace.spec.batch_size / pace.seconds))
    return flops * spec.batch_size / min(rates)[1] if rates else None


def memory(spec: TrainSpec, found: Description, record: DatasetRecord, plan: Plan) -> int:
    """About how many bytes a trainer would hold on a CPU: itself, the images, the weights, and a batch on its way."""
    images = (record.train_count + record.test_count) * record.size**2 * 3
    tensors = 2 + STATES.get(spec.optimizer.name, 1) + (1 if spec.optimizer.ema else 0)
    kept = found.saved_bytes * plan.batch_size // (1 if spec.precision == "float32" else 2)
    compiled = COMPILED if spec.model.name == "cnn" and spec.compile != "off" else 0
    return BASE + compiled + images + 4 * found.parameters * tensors + kept


PREVIEW_POINTS = 200
DESCRIBE_SECONDS = 1.0  # a preview is shown while a person types


def device_kind(database: Database) -> str | None:
    """The kind of device that the workers have, where they all have one kind."""
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
    """What only torch knows of the network. The preview does without where no predictor runs."""
    if is_custom(model.name):
        return None  # a preview runs nobody's code
    try:
        return await predictor.describe(model, classes, size, DESCRIBE_SECONDS)
    except ApiError as error:
        if error.status == 503:
            return None
        raise


def rate_curve(plan: Plan, first: int) -> dict[str, list[Any]]:
    """At most PREVIEW_POINTS steps from `first` to the plan's end with their rates, by the function that trains."""
    span = plan.total_steps - 1 - first
    steps = sorted({first + round(i * span / (PREVIEW_POINTS - 1)) for i in range(PREVIEW_POINTS)})
    return {"step": steps, "value": [learning_rate(plan, step) for step in steps]}
