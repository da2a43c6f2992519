"""Model aliases, and the page of each model."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import numpy as np
from fastapi import APIRouter, BackgroundTasks, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from app.datasets.datasets import Datasets
from app.diagnosis.mistakes import Examination, examined
from app.errors import ApiError
from app.models.coverage import Coverage, coverage
from app.models.ensembles import Ensembles, Unmeasured
from app.models.onnx import OnnxFile, OnnxFiles
from app.models.registry import ModelAlias, ModelRegistry, Naming
from app.models.warming import warm
from app.prediction.members import JOINT, members_of
from app.runs.public import RunPublic
from app.runs.query import RunQuery
from app.runs.runs import Runs
from app.storage.tables import ENDED
from app.web.errors import described
from app.web.forms import checked, render, texts
from app.web.models.card import EnsembleCard, ModelCard
from app.web.models.view import ModelsPage
from app.web.root import root
from app.web.services import DatasetsDep, EnsemblesDep, ModelsDep, OnnxFilesDep, PredictorDep, RunsDep, TasksDep
from trainer.data.errors import DatasetError
from trainer.exported.ensemble_report import EnsembleReport
from trainer.exported.onnx_report import missing_packages
from trainer.rundir.answers import read_table
from trainer.rundir.calibration import read_calibration
from trainer.rundir.threshold import Threshold, read_threshold, write_threshold

router = APIRouter()

NO_MODEL = described({404: "No such model"})


@router.get("/api/models", tags=["models"])
def list_models(models: ModelsDep) -> list[ModelAlias]:
    return models.every()


@router.get("/api/models/{name}", tags=["models"], responses=NO_MODEL)
def get(name: str, models: ModelsDep) -> ModelAlias:
    """An alias: its current runs and its history."""
    return models.get(name)


@router.put(
    "/api/models/{name}",
    tags=["models"],
    responses=described({404: "No such run", 409: "The run has no checkpoint yet"}),
)
def put(name: str, body: Naming, models: ModelsDep, predictor: PredictorDep, background: BackgroundTasks) -> ModelAlias:
    """Assign an alias to a run. It applies to all later requests.

    Several `runs` with the same dataset and target form an ensemble, which returns the mean of their probabilities.
    """
    made = models.put(name, body.members)
    background.add_task(warm, predictor, JOINT.join(made.runs))
    return made


@router.put("/api/models/{name}/threshold", tags=["models"], responses=NO_MODEL)
def set_threshold(name: str, body: Threshold, models: ModelsDep, runs: RunsDep) -> Threshold:
    """Set the probability below which this model's predictions are "unsure", from the next request on.

    It is that of the run, whatever names stand for it. An ensemble has none.
    """
    write_threshold(_run_folder(name, models, runs), body)
    return body


@router.delete("/api/models/{name}", tags=["models"], status_code=204, responses=NO_MODEL)
def delete(name: str, models: ModelsDep) -> None:
    models.remove(name)


@router.get("/models", include_in_schema=False)
def models_page(request: Request, models: ModelsDep, runs: RunsDep) -> Response:
    shown = tuple((models.get(name), members) for name, members in models.members())
    page = ModelsPage(
        models=shown,
        runs=tuple(run for run in runs.list(RunQuery(limit=200)).items if run.best_step is not None),
        names=runs.names({run for alias, _ in shown for move in alias.history for run in move.runs}),
    )
    return render(request, "models/index.html", page)


@router.post("/models", include_in_schema=False)
async def name_from_page(
    request: Request, models: ModelsDep, predictor: PredictorDep, background: BackgroundTasks
) -> Response:
    """Assign an alias. The field `run` is a run id, or several separated by commas for an ensemble."""
    typed = texts(await request.form())
    asked = checked(Naming, {"runs": [run for run in typed.get("run", "").split(",") if run]})
    made = await run_in_threadpool(models.put, typed.get("name", "").strip(), asked.members)
    background.add_task(warm, predictor, JOINT.join(made.runs))
    return RedirectResponse(f"/models/{made.name}", 303, background=background)


@router.post("/models/{name}/remove", include_in_schema=False)
def remove_from_page(name: str, models: ModelsDep) -> Response:
    models.remove(name)
    return RedirectResponse("/models", 303)


@router.get("/models/{name}", include_in_schema=False)
def card(
    request: Request,
    name: str,
    models: ModelsDep,
    runs: RunsDep,
    datasets: DatasetsDep,
    exports: OnnxFilesDep,
    ensembles: EnsemblesDep,
    tasks: TasksDep,
) -> Response:
    members = tuple(runs.get(run) for run in members_of(models.resolve(name)))
    if len(members) > 1:
        kept = datasets.found_for(members[0].train_spec.dataset) is not None
        named = models.get(name)
        shown = _ensemble(request, named, members, exports, ensembles, kept, _earlier(runs, named))
        return render(request, "models/ensemble.html", shown)
    run = members[0]
    try:
        alias: ModelAlias | None = models.get(name)
    except ApiError:
        alias = None
    try:
        onnx: OnnxFile | None = exports.look(run.id)
    except (ApiError, DatasetError, FileNotFoundError):
        onnx = None
    checkpoint, folder = runs.answering_checkpoint(run.id), runs.folder(run.id)
    seen = _seen(runs, datasets, run)
    page = ModelCard(
        name=name,
        run=run,
        names=tuple(name for name, move in models.aliases.current().items() if move.run == run.id),
        alias=alias,
        run_names=_earlier(runs, alias),
        record=datasets.found_for(run.train_spec.dataset),
        checkpoint=checkpoint,
        calibration=read_calibration(folder, checkpoint.step) if checkpoint else None,
        classes=() if seen is None else tuple(seen.classes()),
        threshold=read_threshold(folder),
        datasets=tuple(record.name for record in datasets.list()),
        evaluations=tuple(task for task in tasks.list("evaluate", 100) if task.request.get("run") == run.id),
        coverage=None if seen is None else _coverage(seen, folder),
        file=onnx.members[0] if onnx else None,
        onnx=onnx,
        without=tuple(missing_packages()),
        exporting=is_exporting(exports, onnx),
        origin=str(request.base_url).rstrip("/") + root(),
    )
    return render(request, "models/show.html", page)


@router.post("/models/{name}/threshold", include_in_schema=False)
async def threshold_from_page(request: Request, name: str, models: ModelsDep, runs: RunsDep) -> Response:
    typed = texts(await request.form()).get("threshold", "").strip()
    body = checked(Threshold, {"threshold": typed or None})
    await run_in_threadpool(write_threshold, await run_in_threadpool(_run_folder, name, models, runs), body)
    return RedirectResponse(f"/models/{quote(name)}#threshold", 303)


@router.post("/models/{name}/onnx", include_in_schema=False)
def export_from_page(name: str, models: ModelsDep, exports: OnnxFilesDep) -> Response:
    found = exports.look(models.resolve(name))
    if found.report is None:
        exports.begin(found)
    return RedirectResponse(f"/models/{quote(name)}", 303)


@router.post("/models/{name}/measure", include_in_schema=False)
def measure_from_page(name: str, models: ModelsDep, runs: RunsDep, ensembles: EnsemblesDep) -> Response:
    ensembles.begin(tuple(runs.get(run) for run in members_of(models.resolve(name))))
    return RedirectResponse(f"/models/{quote(name)}", 303)


def _run_folder(name: str, models: ModelRegistry, runs: Runs) -> Path:
    """The folder of the run that a model's name stands for. Raises ApiError 404; 409: it is an ensemble."""
    members = members_of(models.resolve(name))
    if len(members) > 1:
        raise ApiError(409, "ensemble", "An ensemble has no threshold.")
    return runs.folder(runs.get(members[0]).id)


def is_exporting(exports: OnnxFiles, found: OnnxFile | None) -> bool:
    task = None if found is None or found.report is not None else exports.task_of(found)
    return task is not None and task.status not in ENDED


def _ensemble(
    request: Request,
    alias: ModelAlias,
    members: tuple[RunPublic, ...],
    exports: OnnxFiles,
    ensembles: Ensembles,
    dataset_kept: bool,
    run_names: dict[str, str],
) -> EnsembleCard:
    measured: EnsembleReport | Unmeasured
    onnx: OnnxFile | None
    try:
        measured, onnx = ensembles.measured(members), exports.look(JOINT.join(alias.runs))
    except (ApiError, DatasetError, FileNotFoundError) as error:
        measured, onnx = Unmeasured(f"Not measured: {error}"), None
    return EnsembleCard(
        name=alias.name,
        runs=members,
        alias=alias,
        dataset_kept=dataset_kept,
        run_names=run_names,
        measured=measured,
        onnx=onnx,
        without=tuple(missing_packages()),
        exporting=is_exporting(exports, onnx),
        origin=str(request.base_url).rstrip("/") + root(),
    )


def _earlier(runs: Runs, alias: ModelAlias | None) -> dict[str, str]:
    """The names of the runs in the history of an alias, by id, without deleted ones."""
    return {} if alias is None else runs.names({run for move in alias.history for run in move.runs})


def _seen(runs: Runs, datasets: Datasets, run: RunPublic) -> Examination | None:
    """The selected model's predictions for the validation images; None if there are none."""
    if run.val_count == 0 or not run.train_spec.validates:
        return None
    try:
        return examined(runs, datasets, run, None)
    except (DatasetError, FileNotFoundError):
        return None


def _coverage(seen: Examination, folder: Path) -> Coverage:
    """What thresholds give on the validation images: with calibrated probabilities, where they are known."""
    table, calibration = read_table(folder), read_calibration(folder, seen.answers.step)
    top = seen.answers.top.astype(np.float64)
    if calibration is not None and table is not None and np.array_equal(table.row, seen.answers.row):
        powers = table.probabilities.astype(np.float64) ** (1 / calibration.temperature)
        top = (powers / powers.sum(1, keepdims=True)).max(1)
    return coverage(top, ~seen.wrong, read_threshold(folder))
