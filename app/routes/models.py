"""Models by name: what stands for what, and the card of each."""

from __future__ import annotations

from fastapi import APIRouter, BackgroundTasks, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from app.datasets import Datasets
from app.deps import DatasetsDep, ModelsDep, PredictorDep, RunsDep
from app.errors import ApiError, described
from app.mistakes import ClassResult
from app.model_card import ModelCard
from app.model_registry import ModelAlias, Naming
from app.models_page import ModelsPage
from app.routes.page_parts import render, texts
from app.run_mistakes import examined
from app.run_models import RunPublic, RunQuery
from app.runs import Runs
from app.warming import warm
from trainer.data.errors import DatasetError
from trainer.data.format import DatasetRecord

router = APIRouter()

NO_MODEL = described({404: "No such model"})


@router.get("/api/models", tags=["models"])
def list_models(models: ModelsDep) -> list[ModelAlias]:
    return models.every()


@router.get("/api/models/{name}", tags=["models"], responses=NO_MODEL)
def get(name: str, models: ModelsDep) -> ModelAlias:
    """What a name stands for, and stood for before."""
    return models.get(name)


@router.put(
    "/api/models/{name}",
    tags=["models"],
    responses=described({404: "No such run", 409: "The run has no checkpoint yet"}),
)
def put(name: str, body: Naming, models: ModelsDep, predictor: PredictorDep, background: BackgroundTasks) -> ModelAlias:
    """Have a name stand for a run: at once, for every request that comes from now on."""
    made = models.put(name, body.run)
    background.add_task(warm, predictor, made.run)
    return made


@router.delete("/api/models/{name}", tags=["models"], status_code=204, responses=NO_MODEL)
def delete(name: str, models: ModelsDep) -> None:
    models.remove(name)


@router.get("/models", include_in_schema=False)
def models_page(request: Request, models: ModelsDep, runs: RunsDep) -> Response:
    named = models.named()
    able = [run for run in runs.list(RunQuery(limit=200)).items if run.best_step is not None]
    page = ModelsPage(
        models=tuple((models.get(name), run) for name, run in named),
        runs=tuple(able),
        names={run.id: run.name for run in [*able, *(run for _, run in named)]},
    )
    return render(request, "models/index.html", page)


@router.post("/models", include_in_schema=False)
async def name_from_page(
    request: Request, models: ModelsDep, predictor: PredictorDep, background: BackgroundTasks
) -> Response:
    typed = texts(await request.form())
    made = await run_in_threadpool(models.put, typed.get("name", "").strip(), typed.get("run", ""))
    background.add_task(warm, predictor, made.run)
    return RedirectResponse(f"/models/{made.name}", 303, background=background)


@router.get("/models/{name}", include_in_schema=False)
def card(request: Request, name: str, models: ModelsDep, runs: RunsDep, datasets: DatasetsDep) -> Response:
    run = runs.get(models.resolve(name))
    try:
        alias = models.get(name)
    except ApiError:
        alias = None
    try:
        record: DatasetRecord | None = datasets.get(run.dataset)
    except DatasetError:
        record = None
    listed = runs.checkpoints(run.id)
    page = ModelCard(
        name=name,
        run=run,
        names=tuple(runs.aliases.of_run(run.id)),
        alias=alias,
        record=record,
        checkpoint=next((item for item in listed if item.best), listed[-1] if listed else None),
        classes=_classes(runs, datasets, run),
        origin=str(request.base_url).rstrip("/"),
    )
    return render(request, "models/show.html", page)


def _classes(runs: Runs, datasets: Datasets, run: RunPublic) -> tuple[ClassResult, ...]:
    if run.spec.get("val_fraction") == 0:
        return ()
    try:
        found = examined(runs, datasets, run, None)
    except (DatasetError, FileNotFoundError):
        return ()
    return tuple(found.classes()) if found else ()
