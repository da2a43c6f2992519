"""The pages of searches, and what their forms do."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from app.runs.variants import NewVariants, launch_variants
from app.search.narrowing import narrowed
from app.search.requests import MoreTrials
from app.web.forms import render
from app.web.root import root
from app.web.search.view import search_page, searches_page
from app.web.services import LauncherDep, SearchesDep

router = APIRouter(include_in_schema=False)
SEEDS = 5


@router.get("/searches")
def index(request: Request, searches: SearchesDep) -> Response:
    return render(request, "search/index.html", searches_page(searches))


@router.get("/searches/{search_id}")
def show(request: Request, search_id: str, searches: SearchesDep, launcher: LauncherDep) -> Response:
    return render(request, "search/show.html", search_page(searches, launcher, search_id))


@router.post("/searches/{search_id}/stop")
def stop(search_id: str, searches: SearchesDep) -> Response:
    searches.stop(search_id)
    return _to(search_id)


@router.post("/searches/{search_id}/resume")
def resume(search_id: str, searches: SearchesDep, trials: Annotated[int, Form(ge=0, le=10_000)] = 0) -> Response:
    searches.resume(search_id, MoreTrials(trials=trials, device_minutes=0))
    return _to(search_id)


@router.post("/searches/{search_id}/narrow")
def narrow(search_id: str, searches: SearchesDep) -> Response:
    """Begin another search, with the ranges around the best trials of this one."""
    search = searches.get(search_id)
    return _to(searches.create(narrowed(search, searches.trials(search))).id)


@router.post("/searches/{search_id}/repeat")
def repeat(search_id: str, searches: SearchesDep, launcher: LauncherDep) -> Response:
    """Train the best trial's settings with several seeds, as a group of runs."""
    search = searches.get(search_id)
    run = searches.best_run(search)
    body = {"dataset": run.dataset, "preset": run.preset, "overrides": run.overrides, "group": f"{search.name}: seeds"}
    made = launch_variants(launcher, NewVariants.model_validate({**body, "vary": {"seed": list(range(1, SEEDS + 1))}}))
    return RedirectResponse(f"{root()}/runs/{made.runs[0].id}", 303)


def _to(search_id: str) -> Response:
    return RedirectResponse(f"{root()}/searches/{search_id}", 303)
