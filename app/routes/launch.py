"""The launch form: a plain form, whose fields are a spec's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError
from starlette.responses import RedirectResponse

from app import contexts
from app.contexts import dataset_card
from app.deps import DatasetsDep, RunsDep
from app.launch_form import parse_overrides, preset_values, setting_groups, typed_from
from app.routes.page_parts import render, texts
from app.run_models import CloneRequest, NewRun, RunPatch, RunPublic
from app.runs import Runs
from trainer.data.format import DatasetRecord
from trainer.preset import SpecError, build_spec, differences, presets
from trainer.spec import TrainSpec

router = APIRouter(include_in_schema=False)

NOT_SETTINGS = ("dataset", "preset", "name", "expectation", "tags", "from", "from_step")


@router.get("/runs/new")
def launch_page(
    request: Request,
    runs: RunsDep,
    datasets: DatasetsDep,
    parent: Annotated[str | None, Query(alias="from", max_length=40)] = None,
) -> Response:
    typed = {name: value for name, value in request.query_params.items() if name != "from"}
    origin = None if parent is None else runs.get(parent)
    if origin is not None:
        spec = TrainSpec.model_validate(origin.spec)
        typed = {"dataset": origin.dataset, "preset": origin.preset or "", **typed_from(spec), **typed}
    return _launch_form(request, datasets.list(), typed, {}, origin)


@router.post("/runs")
async def launch(request: Request, runs: RunsDep, datasets: DatasetsDep) -> Response:
    typed = texts(await request.form())
    try:
        run = await run_in_threadpool(_launch, runs, typed)
    except SpecError as error:
        errors = {name.removeprefix("overrides."): reason for name, reason in error.fields.items()}
        origin = runs.get(typed["from"]) if typed.get("from") else None
        return await run_in_threadpool(_launch_form, request, datasets.list(), typed, errors, origin, 422)
    return RedirectResponse(f"/runs/{run.id}", 303)


def _launch(runs: Runs, typed: Mapping[str, str]) -> RunPublic:
    """A clone where the parent's data set is kept, so that it shows what differs from its parent; else a new run."""
    overrides = parse_overrides({name: text for name, text in typed.items() if name not in NOT_SETTINGS})
    dataset, preset, expectation = typed.get("dataset", ""), typed.get("preset", ""), typed.get("expectation", "")
    name = typed.get("name") or None
    try:
        if parent := typed.get("from"):
            origin = runs.get(parent)
            if (origin.dataset, origin.preset) == (dataset, preset):
                changed = differences(build_spec(dataset, preset, overrides), TrainSpec.model_validate(origin.spec))
                clone = CloneRequest.model_validate(
                    {
                        "name": name,
                        "overrides": {field: new for field, (_, new) in changed.items()},
                        "from_step": typed.get("from_step") or None,
                    }
                )
                run = runs.clone(parent, clone)
                return runs.patch(run.id, RunPatch(expectation=expectation)) if expectation else run
            if typed.get("from_step"):
                reason = "a branch keeps its parent's data set and preset"
                raise SpecError({"dataset" if origin.dataset != dataset else "preset": reason})
        return runs.create(
            NewRun(dataset=dataset, preset=preset, name=name, expectation=expectation, overrides=overrides, priority=0)
        )
    except ValidationError as error:
        raise SpecError({str(item["loc"][0]): item["msg"] for item in error.errors(include_url=False)}) from None


def _launch_form(
    request: Request,
    records: list[DatasetRecord],
    typed: Mapping[str, str],
    errors: Mapping[str, str],
    parent: RunPublic | None,
    status: int = 200,
) -> Response:
    dataset = typed.get("dataset") or next((record.name for record in records), "")
    preset = typed.get("preset", "")
    if preset not in presets():
        preset = next(iter(presets()))
    page = contexts.LaunchPage(
        datasets=tuple(dataset_card(record) for record in records),
        dataset=dataset,
        presets=tuple(contexts.PresetCard(item, preset_values("-", item.name)) for item in presets().values()),
        preset=preset,
        groups=setting_groups("-", preset, typed, errors),
        typed=typed,
        errors=errors,
        parent=parent,
    )
    return render(request, "runs/new.html", page, status)
