from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query
from pydantic import BaseModel

from app.deps import DatasetsDep, PredictorDep, RunsDep
from app.errors import ApiError, described, invalid
from app.predict import Description, PredictorClient
from app.run_naming import changes, default_name
from trainer.catalog import is_custom
from trainer.data.format import DatasetRecord, read_record
from trainer.feasibility import refuse_impossible
from trainer.preset import Preset, build_spec, presets
from trainer.schedule import Plan, Segment, extended, learning_rate, make_plan, split_sizes
from trainer.spec import ScheduleName, ScheduleSpec, TrainSpec

router = APIRouter(prefix="/api", tags=["presets"])

PREVIEW_POINTS = 200
DESCRIBE_SECONDS = 1.0  # a preview is shown while a person types


@router.get("/presets")
def list_presets() -> list[Preset]:
    return list(presets().values())


class Preview(BaseModel):
    """What a run would do, before it is launched."""

    name: str
    epochs: int
    total_steps: int
    steps_per_epoch: int
    batch_size: int
    lr: dict[str, list[Any]]
    changed: list[dict[str, Any]]
    minutes: float | None = None
    parameters: int | None = None
    flops: int | None = None


@router.get("/preview", responses=described({404: "No such data set"}))
async def preview(
    dataset: Annotated[str, Query(max_length=200)],
    preset: Annotated[str, Query(max_length=200)],
    datasets: DatasetsDep,
    predictor: PredictorDep,
    overrides: Annotated[str, Query(max_length=8000)] = "{}",
) -> Preview:
    try:
        values = orjson.loads(overrides)
    except orjson.JSONDecodeError:
        raise ApiError(400, "malformed_json", "overrides is not valid JSON.") from None
    if not isinstance(values, dict):
        raise invalid([(["overrides"], "is not an object")])
    spec, base = build_spec(dataset, preset, values), build_spec(dataset, preset)
    record = read_record(datasets.root, dataset)
    refuse_impossible(spec, record)
    plan = make_plan(spec, split_sizes(spec, record.train_count)[0])
    known = await _described(predictor, spec, record)
    return Preview(
        name=default_name(spec, base),
        epochs=plan.epochs,
        total_steps=plan.total_steps,
        steps_per_epoch=plan.steps_per_epoch,
        batch_size=plan.batch_size,
        lr=rate_curve(plan, 0),
        changed=changes(spec, base),
        minutes=spec.budget.minutes,
        parameters=known and known.parameters,
        flops=known and known.flops,
    )


async def _described(predictor: PredictorClient, spec: TrainSpec, record: DatasetRecord) -> Description | None:
    """What only torch knows of the network. The preview does without where no predictor runs."""
    if is_custom(spec.model.name):
        return None  # a preview runs nobody's code
    classes = len(record.superclasses or ()) if spec.target == "coarse" else len(record.classes)
    try:
        return await predictor.describe(spec.model, classes, record.size, DESCRIBE_SECONDS)
    except ApiError as error:
        if error.status == 503:
            return None
        raise


def rate_curve(plan: Plan, first: int) -> dict[str, list[Any]]:
    """At most PREVIEW_POINTS steps from `first` to the plan's end with their rates, by the function that trains."""
    span = plan.total_steps - 1 - first
    steps = sorted({first + round(i * span / (PREVIEW_POINTS - 1)) for i in range(PREVIEW_POINTS)})
    return {"step": steps, "value": [learning_rate(plan, step) for step in steps]}


class Extension(BaseModel):
    """What more epochs would do: the learning rate of each added step."""

    epochs: int
    total_steps: int
    lr: dict[str, list[Any]]


@router.get("/runs/{run_id}/extension", responses=described({404: "No such run"}))
def extension(
    run_id: str,
    runs: RunsDep,
    epochs: Annotated[int, Query(ge=1, le=100_000)],
    schedule: Annotated[ScheduleName | None, Query(description="Without it the run's own, once more.")] = None,
    lr: Annotated[float | None, Query(gt=0, le=10, allow_inf_nan=False)] = None,
) -> Extension:
    run = runs.get(run_id)
    spec = TrainSpec.model_validate(run.spec)
    end, per_epoch = run.total_steps or 1, run.steps_per_epoch or 1
    own = Segment(0, end, 0.0, 1.0, spec.schedule, spec.optimizer.lr)
    added = spec.schedule if schedule is None else ScheduleSpec(name=schedule)
    plan = extended(Plan(spec.batch_size, per_epoch, (own,)), epochs, added, lr or spec.optimizer.lr)
    return Extension(epochs=plan.epochs, total_steps=plan.total_steps, lr=rate_curve(plan, end))
