"""The pages, and the plain forms on them. Each reads what it shows through the same objects as the API."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData
from starlette.responses import RedirectResponse

from app import contexts
from app.contexts import Row, Sample
from app.dataset_grid import by_turns, class_counts, rows_of
from app.datasets import Datasets
from app.deps import DatasetsDep, RunsDep, TasksDep
from app.errors import ApiError
from app.launch_form import parse_overrides, preset_values, setting_groups, typed_from
from app.run_models import CloneRequest, NewRun, ResumeRequest, RunPatch, RunPublic, RunQuery
from app.runs import Runs
from app.tables import ACTIVE, Status
from app.workers import seen_workers
from trainer.data.errors import DatasetError
from trainer.data.format import DatasetRecord
from trainer.spec import SpecError, TrainSpec, build_spec, differences, presets

router = APIRouter(include_in_schema=False)

Model = TypeVar("Model", bound=BaseModel)

SOURCES = ("torchvision:CIFAR100", "torchvision:CIFAR10", "torchvision:FashionMNIST", "torchvision:SVHN", "shapes100")
FILTERS = ("status", "dataset", "q", "tag", "group", "model", "sort", "cursor")
NOT_SETTINGS = ("dataset", "preset", "name", "expectation", "tags", "from")
TEST_IMAGES = 12


@router.get("/")
def runs_page(request: Request, runs: RunsDep, datasets: DatasetsDep) -> Response:
    filters = {name: value for name in FILTERS if (value := request.query_params.get(name, "").strip())}
    found = runs.list(_checked(RunQuery, filters))
    active = {run.id: run for status in ACTIVE for run in runs.list(RunQuery(status=status)).items}
    queue = runs.queue()
    places = {run.id: index + len(active) for index, run in enumerate(queue)}
    page = contexts.RunsPage(
        lanes=contexts.lanes(seen_workers(runs.database), active, queue),
        rows=tuple(Row(run, places.get(run.id)) for run in found.items),
        datasets=tuple(record.name for record in datasets.list()),
        filters=filters,
        total=runs.count(),
        next_cursor=found.next_cursor,
        seq=min((run.seq for run in (*found.items, *active.values())), default=0),
    )
    return _render(request, "runs/index.html", page)


@router.get("/runs/{run_id}/row")
def row_fragment(request: Request, run_id: str, runs: RunsDep) -> Response:
    run = runs.get(run_id)
    place = next((index for index, waiting in enumerate(runs.queue()) if waiting.id == run_id), None)
    return _render(request, "runs/_row.html", None, row=Row(run, place))


@router.get("/lanes")
def lanes_fragment(request: Request, runs: RunsDep) -> Response:
    active = {run.id: run for status in ACTIVE for run in runs.list(RunQuery(status=status)).items}
    lanes = contexts.lanes(seen_workers(runs.database), active, runs.queue())
    return _render(request, "runs/_lanes.html", None, lanes=lanes)


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
    typed = _texts(await request.form())
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
                clone = CloneRequest(
                    name=name, overrides={field: new for field, (_, new) in changed.items()}, from_step=None
                )
                run = runs.clone(parent, clone)
                return runs.patch(run.id, RunPatch(expectation=expectation)) if expectation else run
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
        datasets=tuple(_card(record) for record in records),
        dataset=dataset,
        presets=tuple(contexts.PresetCard(item, preset_values("-", item.name)) for item in presets().values()),
        preset=preset,
        groups=setting_groups("-", preset, typed, errors),
        typed=typed,
        errors=errors,
        parent=parent,
    )
    return _render(request, "runs/new.html", page, status)


@router.get("/runs/{run_id}")
def run_page(request: Request, run_id: str, runs: RunsDep, datasets: DatasetsDep, tab: str = "curves") -> Response:
    run = runs.get(run_id)
    tab = tab if tab in ("curves", "log", "setup") else "curves"
    shown: dict[str, Any] = {}
    if tab == "log":
        shown["lines"] = tuple(runs.log(run_id))
    if tab == "setup":
        shown["settings"], shown["from_preset"], shown["command"] = contexts.setup_of(run)
        shown["checkpoints"] = tuple(reversed(runs.checkpoints(run_id)))
    if run.status == Status.FAILED:
        shown["tail"] = tuple(runs.log(run_id)[-contexts.TAIL_LINES :])
    page = contexts.RunPage(run=run, tab=tab, classes=_classes(datasets, run), **shown)
    return _render(request, "runs/show.html", page)


@router.post("/runs/{run_id}/stop")
def stop(run_id: str, runs: RunsDep) -> Response:
    runs.stop(run_id)
    return RedirectResponse(f"/runs/{run_id}", 303)


@router.post("/runs/{run_id}/resume")
async def resume(request: Request, run_id: str, runs: RunsDep) -> Response:
    typed = _texts(await request.form())
    body = _checked(ResumeRequest, {"extend_epochs": typed.get("extend_epochs") or 0})
    await run_in_threadpool(runs.resume, run_id, body)
    return RedirectResponse(f"/runs/{run_id}", 303)


@router.post("/runs/{run_id}/clone")
def clone(run_id: str, runs: RunsDep) -> Response:
    return RedirectResponse(f"/runs/{runs.clone(run_id, CloneRequest(from_step=None)).id}", 303)


@router.post("/runs/{run_id}/delete")
def delete(run_id: str, runs: RunsDep) -> Response:
    runs.delete(run_id)
    return RedirectResponse("/", 303)


@router.post("/runs/{run_id}/edit")
async def edit(request: Request, run_id: str, runs: RunsDep) -> Response:
    typed: dict[str, Any] = dict(_texts(await request.form()))
    if "tags" in typed:
        typed["tags"] = [tag.strip() for tag in typed["tags"].split(",") if tag.strip()]
    await run_in_threadpool(runs.patch, run_id, _checked(RunPatch, typed))
    return RedirectResponse(f"/runs/{run_id}?tab=setup", 303)


@router.get("/datasets")
def datasets_page(request: Request, datasets: DatasetsDep, tasks: TasksDep) -> Response:
    shown = tuple(task for task in tasks.list() if task.status != Status.FINISHED)
    page = contexts.DatasetsPage(cards=tuple(_card(record) for record in datasets.list()), tasks=shown, sources=SOURCES)
    return _render(request, "datasets/index.html", page)


@router.get("/datasets/{name}")
def dataset_page(
    request: Request,
    name: str,
    datasets: DatasetsDep,
    split: str = "train",
    chosen: Annotated[int | None, Query(alias="class", ge=0)] = None,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> Response:
    record = datasets.get(name)
    labels = datasets.labels(name, split)
    counts = class_counts(labels, len(record.classes))
    rows = by_turns(labels) if chosen is None else rows_of(labels, chosen)
    first = (page - 1) * contexts.CELLS
    largest = max(counts) or 1
    shown = contexts.DatasetPage(
        record=record,
        split=split,
        chosen=chosen,
        cells=tuple(
            Sample(split, int(row), record.classes[int(labels[row])]) for row in rows[first : first + contexts.CELLS]
        ),
        bars=tuple(
            contexts.ClassBar(index, label, counts[index], f"{100 * counts[index] / largest:.1f}%")
            for index, label in enumerate(record.classes)
        ),
        page=page,
        pages=max(1, -(-len(rows) // contexts.CELLS)),
        total=len(rows),
    )
    return _render(request, "datasets/show.html", shown)


@router.get("/predict")
def predict_page(
    request: Request,
    runs: RunsDep,
    datasets: DatasetsDep,
    model: Annotated[str | None, Query(max_length=40)] = None,
) -> Response:
    listed = [run for run in runs.list(RunQuery(limit=200)).items if run.best_step is not None]
    chosen = runs.get(model) if model and model != "latest" else None
    if chosen is None:
        chosen = next((run for run in listed if run.status == Status.FINISHED), listed[0] if listed else None)
    elif chosen.id not in {run.id for run in listed}:
        listed.insert(0, chosen)
    record = None if chosen is None else _record(datasets, chosen.dataset)
    samples = () if record is None else _test_images(record, datasets)
    page = contexts.PredictPage(
        models=tuple(listed),
        model=chosen,
        record=record,
        samples=samples,
        origin=str(request.base_url).rstrip("/"),
    )
    return _render(request, "predict/index.html", page)


def _test_images(record: DatasetRecord, datasets: Datasets) -> tuple[Sample, ...]:
    labels = datasets.labels(record.name, "test")
    rows = sorted(random.sample(range(len(labels)), min(TEST_IMAGES, len(labels))))
    return tuple(Sample("test", row, record.classes[int(labels[row])]) for row in rows)


def _card(record: DatasetRecord) -> contexts.DatasetCard:
    rows = [index * record.train_count // contexts.SAMPLES for index in range(contexts.SAMPLES)]
    return contexts.DatasetCard(record, tuple(Sample("train", row, "") for row in rows if row < record.train_count))


def _classes(datasets: Datasets, run: RunPublic) -> int | None:
    record = _record(datasets, run.dataset)
    if record is None:
        return None
    coarse = run.spec.get("target") == "coarse" and record.superclasses is not None
    return len(record.superclasses or ()) if coarse else len(record.classes)


def _record(datasets: Datasets, name: str) -> DatasetRecord | None:
    """None once the data set is gone: its runs can still be looked at."""
    try:
        found: DatasetRecord = datasets.get(name)
    except DatasetError:
        return None
    return found


def _checked(model: type[Model], values: Mapping[str, Any]) -> Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = [
            {"field": ".".join(map(str, item["loc"])), "message": item["msg"]}
            for item in error.errors(include_input=False, include_url=False)
        ]
        message = "; ".join(f"{fault['field']}: {fault['message']}" for fault in faults)
        raise ApiError(422, "invalid_request", message[:1000], faults) from None


def _texts(form: FormData) -> dict[str, str]:
    return {name: value for name, value in form.items() if isinstance(value, str)}


def _render(request: Request, template: str, page: Any, status: int = 200, **values: Any) -> Response:
    response: Response = request.app.state.templates.TemplateResponse(
        request, template, {"page": page, "section": getattr(page, "section", ""), **values}, status_code=status
    )
    return response
