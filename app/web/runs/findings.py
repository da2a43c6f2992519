"""Findings of a run: the API, the pictures of the checks, and the fragment above the tabs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from app.diagnosis.findings import FindingPublic
from app.diagnosis.first_layer import first_filters
from app.errors import not_found
from app.runs.public import RunPublic
from app.web.assets import Download
from app.web.errors import described
from app.web.forms import render, texts
from app.web.runs.cards import finding_cards
from app.web.services import FindingsDep, RunsDep

router = APIRouter()
PNG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}
}
IMMUTABLE = {"Cache-Control": "private, max-age=31536000, immutable"}


@router.get("/api/runs/{run_id}/findings", tags=["runs"], responses=described({404: "No such run"}))
def findings(run_id: str, store: FindingsDep) -> list[FindingPublic]:
    return store.of(run_id)


@router.post(
    "/api/runs/{run_id}/findings/{finding_id}/try",
    status_code=201,
    tags=["runs"],
    responses=described({404: "No such run or finding", 409: "The finding names nothing to try"}),
)
def try_remedy(
    run_id: str,
    finding_id: int,
    store: FindingsDep,
    response: Response,
    stop: Annotated[bool, Query(description="Also stop the run; the copy then goes first in the queue")] = False,
) -> RunPublic:
    run = store.try_remedy(run_id, finding_id, stop=stop)
    response.headers["Location"] = f"/api/runs/{run.id}"
    return run


@router.get(
    "/api/runs/{run_id}/checks/{name}.png",
    tags=["runs"],
    response_class=Download,
    responses={**PNG, **described({404: "No such run or picture"})},
)
def picture(run_id: str, name: str, store: FindingsDep) -> Download:
    return Download(store.picture(run_id, name), media_type="image/png", headers={"Cache-Control": "no-cache"})


@router.get(
    "/api/runs/{run_id}/checkpoints/{step}/filters.png",
    tags=["runs"],
    response_class=Response,
    responses={
        **PNG,
        **described(
            {404: "No such checkpoint, or its first layer has no filters to draw", 409: "The checkpoint is damaged"}
        ),
    },
)
def filters(run_id: str, step: int, runs: RunsDep) -> Response:
    drawn = first_filters(runs.checkpoint_file(run_id, step))
    if drawn is None:
        raise not_found("first-layer filters in the checkpoint of step", str(step))
    return Response(drawn, media_type="image/png", headers=IMMUTABLE)


@router.get("/runs/{run_id}/findings", include_in_schema=False)
def findings_fragment(request: Request, run_id: str, store: FindingsDep, runs: RunsDep) -> Response:
    cards = finding_cards(store.of(run_id))
    return render(request, "runs/_findings.html", None, run=runs.get(run_id), cards=cards)


@router.post("/runs/{run_id}/findings/{finding_id}/try", include_in_schema=False)
async def try_remedy_from_page(request: Request, run_id: str, finding_id: int, store: FindingsDep) -> Response:
    stop = bool(texts(await request.form()).get("stop"))
    run = await run_in_threadpool(store.try_remedy, run_id, finding_id, stop=stop)
    return RedirectResponse(f"/runs/{run.id}", 303)
