from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query
from pydantic import BaseModel

from app.deps import DatasetsDep
from app.errors import ApiError, described, invalid
from app.run_naming import changes, default_name
from trainer.data.format import read_record
from trainer.preset import Preset, build_spec, presets
from trainer.schedule import learning_rate, make_plan, split_sizes

router = APIRouter(prefix="/api", tags=["presets"])

PREVIEW_POINTS = 200


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
    parameters: int | None = None


@router.get("/preview", responses=described({404: "No such data set"}))
def preview(
    dataset: Annotated[str, Query(max_length=200)],
    preset: Annotated[str, Query(max_length=200)],
    datasets: DatasetsDep,
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
    plan = make_plan(spec, split_sizes(spec, record.train_count)[0])
    steps = sorted({round(i * (plan.total_steps - 1) / (PREVIEW_POINTS - 1)) for i in range(PREVIEW_POINTS)})
    return Preview(
        name=default_name(spec, base),
        epochs=plan.epochs,
        total_steps=plan.total_steps,
        steps_per_epoch=plan.steps_per_epoch,
        batch_size=plan.batch_size,
        lr={"step": steps, "value": [learning_rate(plan, step) for step in steps]},
        changed=changes(spec, base),
    )
