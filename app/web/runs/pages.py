"""The page of a run, with the handlers of its forms."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BeforeValidator
from starlette.responses import RedirectResponse

from app.datasets.datasets import Datasets
from app.datasets.validation import validation_of_run
from app.fields import none_if_empty
from app.host.workers import most_devices, seen_workers
from app.runs.attempts import attempts_of
from app.runs.public import RunPublic
from app.runs.requests import CloneRequest, ResumeRequest, RunPatch, StopRequest
from app.runs.setup import changed_from, decided, setup_of
from app.storage.tables import Status
from app.web.forms import checked, render, texts
from app.web.runs.cards import finding_cards
from app.web.runs.checks_tab import checks_tab
from app.web.runs.errors_tab import tab_of
from app.web.runs.rows import places_of
from app.web.runs.script_page import script_page
from app.web.runs.view import TAIL_LINES, RunPageView
from app.web.services import DatasetsDep, FindingsDep, LauncherDep, MetricsDep, RunsDep, ScriptDataDep
from trainer.data.errors import DatasetError
from trainer.data.splits import validation_counts
from trainer.rundir.environment import read_environment, read_git

router = APIRouter(include_in_schema=False)


@router.get("/runs/{run_id}")
def run_page(
    request: Request,
    run_id: str,
    runs: RunsDep,
    datasets: DatasetsDep,
    findings: FindingsDep,
    metrics: MetricsDep,
    data: ScriptDataDep,
    tab: str = "curves",
    step: Annotated[int | None, Query(ge=0, le=2**53), BeforeValidator(none_if_empty)] = None,
    cell: Annotated[str | None, Query(pattern=r"^\d{1,6},\d{1,6}$")] = None,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    of: Annotated[int | None, Query(ge=0, le=10**6), BeforeValidator(none_if_empty)] = None,
    find: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    run = runs.get(run_id)
    if run.is_script:
        return script_page(request, run, tab, find, step, runs, metrics, findings, data)
    tab = tab if tab in ("curves", "checks", "errors", "log", "setup") else "curves"
    found = findings.of(run_id)
    shown: dict[str, Any] = {}
    if tab == "curves":
        shown["series"] = tuple(metrics.names(run_id))
        shown["attempts"] = tuple(attempts_of(runs.folder(run_id)))
    if tab == "log":
        shown["lines"] = tuple(runs.log(run_id))
    if tab == "setup":
        shown["settings"], shown["from_preset"], shown["command"] = setup_of(run)
        shown["decided"] = decided(runs.folder(run_id))
        shown["environment"] = read_environment(runs.folder(run_id), run.attempt)
        shown["git"] = read_git(runs.folder(run_id))
        shown["validation"] = _validation(datasets, run)
        shown["checkpoints"] = tuple(reversed(runs.checkpoints(run_id)))
    shown["answering"] = runs.answering_checkpoint(run_id)
    if run.status == Status.QUEUED:
        shown["behind"] = places_of(runs).get(run_id, 0)
        shown["devices_there"] = most_devices(seen_workers(runs.database))
    if run.status == Status.FAILED:
        shown["tail"] = tuple(runs.log(run_id)[-TAIL_LINES:])
    if tab == "errors":
        label, _, guess = (cell or "").partition(",")
        place = (int(label), int(guess)) if cell else None
        shown["errors"] = tab_of(runs, datasets, run, step, place, page, of)
    if tab == "checks":
        shown["checks"] = checks_tab(runs, datasets, run, found)
    record = datasets.found_for(run.train_spec.dataset)
    classes = None if record is None else len(record.target_names(run.train_spec.target))
    if run.parent is not None and (parent_name := runs.names([run.parent]).get(run.parent)):
        shown["parent_name"] = parent_name
        if tab == "setup":
            shown["from_parent"] = changed_from(runs.get(run.parent).train_spec, run.train_spec)
    context = RunPageView(run=run, tab=tab, classes=classes, cards=finding_cards(found), **shown)
    return render(request, "runs/show.html", context)


def _validation(datasets: Datasets, run: RunPublic) -> str:
    """What the run is validated on, in words: without its dataset, only the number of images is known."""
    spec = run.train_spec
    try:
        record = datasets.trained_on(spec.dataset)
        return validation_of_run(spec, record, validation_counts(spec, record, datasets.root))
    except DatasetError:
        return "" if run.val_count is None else f"{run.val_count:,} image{'' if run.val_count == 1 else 's'}"


@router.post("/runs/{run_id}/stop")
async def stop(request: Request, run_id: str, runs: RunsDep) -> Response:
    body = checked(StopRequest, {name: text for name, text in texts(await request.form()).items() if text})
    await run_in_threadpool(runs.stop if body.mode == "now" else runs.finish_early, run_id)
    return RedirectResponse(f"/runs/{run_id}", 303)


@router.post("/runs/{run_id}/resume")
async def resume(request: Request, run_id: str, runs: RunsDep) -> Response:
    typed = texts(await request.form())
    given: dict[str, Any] = {name: text for name, text in typed.items() if text}
    if "schedule" in given:
        given["schedule"] = {"name": given["schedule"]}
    body = checked(ResumeRequest, given)
    await run_in_threadpool(runs.resume, run_id, body)
    return RedirectResponse(f"/runs/{run_id}", 303)


@router.post("/runs/{run_id}/clone")
async def clone(request: Request, run_id: str, launcher: LauncherDep) -> Response:
    body = checked(CloneRequest, {"overrides": texts(await request.form()), "from_step": None})
    run = await run_in_threadpool(launcher.clone, run_id, body)
    return RedirectResponse(f"/runs/{run.id}", 303)


@router.post("/runs/{run_id}/delete")
def delete(run_id: str, runs: RunsDep) -> Response:
    runs.delete(run_id)
    return RedirectResponse("/", 303)


@router.post("/runs/{run_id}/edit")
async def edit(request: Request, run_id: str, runs: RunsDep) -> Response:
    typed: dict[str, Any] = dict(texts(await request.form()))
    if "tags" in typed:
        typed["tags"] = [tag.strip() for tag in typed["tags"].split(",") if tag.strip()]
    await run_in_threadpool(runs.patch, run_id, checked(RunPatch, typed))
    return RedirectResponse(f"/runs/{run_id}?tab=setup", 303)
