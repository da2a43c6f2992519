"""The preview of a launch, for the launch form and the API; and launching variants."""

from __future__ import annotations

import random
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any
from urllib.parse import urlencode

import orjson
from fastapi import APIRouter, Query, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from app.datasets.validation import validation_of_run
from app.errors import ApiError, invalid
from app.fields import Integer
from app.host.workers import most_devices, seen_workers
from app.runs.estimates import (
    Basis,
    Pace,
    describe_or_none,
    device_kind,
    duration_of,
    memory,
    paces,
    rate_curve,
)
from app.runs.naming import changes, default_name, member_name
from app.runs.networks import MOST, Networks, find_networks
from app.runs.permissions import permitted
from app.runs.variants import MOST_RUNS, NewVariants, Variants, checked_vary, combinations, launch_variants, possible
from app.runs.waiting import Waiting, lacking, waiting
from app.settings import Settings
from app.web.errors import described
from app.web.launch.form import parse_overrides, split_variants
from app.web.services import DatabaseDep, DatasetsDep, LauncherDep, PredictorDep, RunsDep, SettingsDep
from trainer.plan.prepared import Prepared, prepared
from trainer.plan.schedule import Plan, Segment, extended
from trainer.spec.optimizer_spec import ScheduleName, ScheduleSpec
from trainer.spec.preset import Preset, flatten, presets

router = APIRouter(prefix="/api")
TAGS: list[str | Enum] = ["presets"]

IMAGES_SECONDS = 5.0


@router.get("/presets", tags=TAGS)
def list_presets() -> list[Preset]:
    return list(presets().values())


@router.get("/networks", tags=TAGS)
def list_networks(
    q: Annotated[str, Query(max_length=200, description="Words that the name has.")] = "",
    limit: Annotated[int, Query(ge=1, le=MOST)] = 20,
) -> Networks:
    """The networks that `model.name` can name. A user's own, `package.module:function`, are not among them."""
    return find_networks(q, limit)


class Preview(BaseModel):
    """The plan of a run before it is launched. Of several variants (`runs`), all are checked, and the first is shown.

    `seconds` is the duration of one run, `basis` its source: set by the time budget, measured on runs of the same
    settings on this machine, or estimated from other runs. `memory` is the approximate memory of the trainer in bytes.
    `validation` says in words which `val_count` images the run is validated on. `ahead` runs are active or queued;
    the run starts after them, in `wait_seconds` if that can be estimated. `lacking`: why it cannot start at present.
    """

    name: str
    epochs: int
    total_steps: int
    steps_per_epoch: int
    batch_size: int
    lr: dict[str, list[Any]]
    changed: list[dict[str, Any]]
    val_count: int
    validation: str
    minutes: float | None = None
    parameters: int | None = None
    flops: int | None = None
    runs: int = 1
    seconds: float | None = None
    basis: Basis | None = None
    memory: int | None = None
    ahead: int = 0
    wait_seconds: float | None = None
    lacking: str = ""


Json = Annotated[str, Query(max_length=8000)]


@router.get("/preview", tags=TAGS, responses=described({404: "No such dataset"}))
async def preview(
    dataset: Annotated[str, Query(max_length=200)],
    preset: Annotated[str, Query(max_length=200)],
    settings: SettingsDep,
    predictor: PredictorDep,
    database: DatabaseDep,
    datasets: DatasetsDep,
    overrides: Json = "{}",
    typed: Annotated[Json, Query(description="Settings as they are typed into the form, in place of overrides.")] = "",
    draw: Annotated[Integer | None, Query(ge=1, le=MOST_RUNS)] = None,
) -> Preview:
    def prepare() -> tuple[Prepared, str, int, list[Pace], Waiting, str]:
        values, vary = _asked(overrides, typed)
        chosen = combinations(vary, draw, random.Random(0)) if vary else [{}]
        variants = [values | one for one in possible(vary, chosen)]
        ready = _checked(dataset, preset, variants, settings)
        workers = seen_workers(database)
        records = {record.name: record for record in datasets.list()}
        with database.read() as session:
            past = paces(session, device_kind(database))
            queue = waiting(session, past, records, len(workers), ready.spec.devices)
        lacks = lacking(ready.spec.devices, most_devices(workers))
        return ready, _name(ready, preset, vary), len(chosen), past, queue, lacks

    # It is asked for at each keystroke: streams and predictions, on the event loop, must not wait for it.
    ready, name, runs, past, queue, lacks = await run_in_threadpool(prepare)
    spec, record, plan = ready.spec, ready.record, ready.plan
    known = await describe_or_none(predictor, spec.model, len(record.target_names(spec.target)), record.size)
    seconds, basis = await duration_of(spec, plan, past, known, predictor, record)
    return Preview(
        name=name,
        epochs=plan.epochs,
        total_steps=plan.total_steps,
        steps_per_epoch=plan.steps_per_epoch,
        batch_size=plan.batch_size,
        lr=rate_curve(plan, 0),
        changed=changes(ready.changed),
        val_count=ready.validation.total,
        validation=validation_of_run(spec, record, ready.validation),
        minutes=spec.budget.minutes,
        parameters=known and known.parameters,
        flops=known and known.flops,
        runs=runs,
        seconds=seconds,
        basis=basis,
        memory=known and memory(spec, known, record, plan),
        ahead=queue.active + queue.queued,
        wait_seconds=queue.seconds,
        lacking=lacks,
    )


@router.get(
    "/preview/images.png",
    tags=TAGS,
    response_class=Response,
    responses={
        200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}},
        **described({404: "No such dataset", 503: "No predictor runs"}),
    },
)
async def augmented_images(
    dataset: Annotated[str, Query(max_length=200)],
    preset: Annotated[str, Query(max_length=200)],
    datasets: DatasetsDep,
    predictor: PredictorDep,
    overrides: Json = "{}",
    typed: Json = "",
) -> Response:
    """Eight training images in one row, augmented as in the first epoch."""

    def prepare() -> Prepared:
        values, vary = _asked(overrides, typed)
        chosen = combinations(vary, 1, random.Random(0))[0] if vary else {}
        return prepared(dataset, preset, values | chosen, datasets.root)

    ready = await run_in_threadpool(prepare)
    picture = await predictor.augment(ready.spec, IMAGES_SECONDS)
    return Response(picture, media_type="image/png", headers={"Cache-Control": "private, max-age=60"})


def _name(ready: Prepared, preset: str, vary: Mapping[str, Any]) -> str:
    """The name of the run, or of the first of several variants."""
    if not vary:
        return default_name(ready.changed, preset)
    settings = flatten(ready.spec)
    return member_name({field: settings[field] for field in vary}, preset)


def _checked(dataset: str, preset: str, variants: list[dict[str, Any]], settings: Settings) -> Prepared:
    """Check each variant as a launch would, and return the first one. Raises SpecError, DatasetError."""
    ready = [prepared(dataset, preset, overrides, settings.datasets) for overrides in variants]
    for one in ready:
        permitted(one.spec, settings)
    return ready[0]


def _asked(overrides: str, typed: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(settings shared by all variants, settings that vary). Raises ApiError 400: invalid JSON; 422: no object."""
    name, text = ("typed", typed) if typed else ("overrides", overrides)
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ApiError(400, "malformed_json", f"{name} is not valid JSON.") from None
    if not isinstance(values, dict) or (typed and not all(isinstance(value, str) for value in values.values())):
        raise invalid([([name], "is not an object" if not typed else "is not an object of texts")])
    if not typed:
        return values, {}
    same, vary = split_variants(values)
    return parse_overrides(same), checked_vary(vary)


class Extension(BaseModel):
    """The plan of additional epochs, with the learning rate of each added step."""

    epochs: int
    total_steps: int
    lr: dict[str, list[Any]]


@router.get("/runs/{run_id}/extension", tags=TAGS, responses=described({404: "No such run"}))
def extension(
    run_id: str,
    runs: RunsDep,
    epochs: Annotated[int, Query(ge=1, le=100_000)],
    schedule: Annotated[ScheduleName | None, Query(description="Without it the run's own, once more.")] = None,
    lr: Annotated[float | None, Query(gt=0, le=10, allow_inf_nan=False)] = None,
) -> Extension:
    run = runs.get(run_id)
    spec = run.train_spec
    end, per_epoch = run.total_steps or 1, run.steps_per_epoch or 1
    own = Segment(0, end, 0.0, 1.0, spec.schedule, spec.optimizer.lr)
    added = spec.schedule if schedule is None else ScheduleSpec(name=schedule)
    plan = extended(Plan(spec.batch_size, per_epoch, (own,)), epochs, added, lr or spec.optimizer.lr)
    return Extension(epochs=plan.epochs, total_steps=plan.total_steps, lr=rate_curve(plan, end))


@router.post(
    "/runs/variants",
    tags=["runs"],
    status_code=201,
    responses={201: {"headers": {"Location": {"description": "The new runs", "schema": {"type": "string"}}}}},
)
def variants(body: NewVariants, launcher: LauncherDep, response: Response) -> Variants:
    """Queue every combination of the given values, or a random sample of them, as one group; all of them or none."""
    made = launch_variants(launcher, body)
    response.headers["Location"] = f"/api/runs?{urlencode({'group': made.group})}"
    return made
