from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BeforeValidator

from app.fields import none_if_empty
from app.metrics.reader import MetricsPublic
from app.runs.public import CheckpointPublic, LogLinePublic, RunPage, RunPublic
from app.runs.query import RunQuery
from app.runs.requests import CloneRequest, NewRun, ResumeRequest, RunPatch, StopRequest
from app.web.assets import Download, download_answers
from app.web.errors import described
from app.web.services import LauncherDep, MetricsDep, RunsDep

router = APIRouter(prefix="/api/runs", tags=["runs"])
CREATED: dict[int | str, dict[str, Any]] = {
    201: {"headers": {"Location": {"description": "The new run", "schema": {"type": "string"}}}}
}
NO_RUN = described({404: "No such run"})
WRONG_STATE = NO_RUN | described({409: "The run's state does not allow it"})
TEXT: dict[str, Any] = {"content": {"text/plain": {"schema": {"type": "string"}}}}
CSV: dict[str, Any] = {"content": {"text/csv": {"schema": {"type": "string"}}}}

Names = Annotated[
    list[Annotated[str, Query(max_length=500)]], Query(max_length=200, description="A series; may be repeated.")
]
IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=200)]


@router.post("", status_code=201, responses={**CREATED, **described({409: "The key was used for another request"})})
def create(
    body: NewRun, launcher: LauncherDep, response: Response, idempotency_key: IdempotencyKey = None
) -> RunPublic:
    run = launcher.create(body, idempotency_key)
    response.headers["Location"] = f"/api/runs/{run.id}"
    return run


@router.get("")
def list_runs(query: Annotated[RunQuery, Query()], runs: RunsDep) -> RunPage:
    return runs.list(query)


@router.get("/{run_id}", responses=NO_RUN)
def get(run_id: str, runs: RunsDep) -> RunPublic:
    return runs.get(run_id)


@router.patch("/{run_id}", responses=NO_RUN)
def patch(run_id: str, body: RunPatch, runs: RunsDep) -> RunPublic:
    return runs.patch(run_id, body)


@router.delete("/{run_id}", status_code=204, responses=WRONG_STATE)
def delete(run_id: str, runs: RunsDep) -> None:
    runs.delete(run_id)


@router.post("/{run_id}/stop", status_code=202, responses=WRONG_STATE)
def stop(run_id: str, runs: RunsDep, body: StopRequest | None = None) -> RunPublic:
    if body is not None and body.mode == "wind-down":
        return runs.finish_early(run_id)
    return runs.stop(run_id)


@router.post("/{run_id}/resume", status_code=202, responses=WRONG_STATE)
def resume(run_id: str, runs: RunsDep, body: ResumeRequest | None = None) -> RunPublic:
    return runs.resume(run_id, body or ResumeRequest(extend_epochs=0))


@router.post("/{run_id}/clone", status_code=201, responses={**CREATED, **described({404: "No such run or checkpoint"})})
def clone(run_id: str, launcher: LauncherDep, response: Response, body: CloneRequest | None = None) -> RunPublic:
    run = launcher.clone(run_id, body or CloneRequest(from_step=None))
    response.headers["Location"] = f"/api/runs/{run.id}"
    return run


@router.get("/{run_id}/metrics", responses=NO_RUN, response_model=MetricsPublic)
def metrics(
    run_id: str,
    store: MetricsDep,
    series: Annotated[str | None, Query(max_length=4000)] = None,
    name: Names = [],  # noqa: B006
    points: Annotated[int, Query(ge=1, le=100_000)] = 1000,
    after_step: Annotated[int | None, Query(ge=-1, le=2**62), BeforeValidator(none_if_empty)] = None,
    smoothing: Annotated[float | None, Query(ge=0, lt=1), BeforeValidator(none_if_empty)] = None,
) -> Response:
    body = store.read(run_id, _names(series, name), points, after_step, smoothing)
    return Response(orjson.dumps(body), media_type="application/json")


@router.get("/{run_id}/metrics.csv", responses={**NO_RUN, 200: CSV}, response_class=StreamingResponse)
def metrics_csv(
    run_id: str,
    store: MetricsDep,
    series: Annotated[str | None, Query(max_length=4000)] = None,
    name: Names = [],  # noqa: B006
) -> StreamingResponse:
    store.names(run_id)
    headers = {"Content-Disposition": f'attachment; filename="{run_id}.csv"'}
    rows: Iterator[str] = store.csv(run_id, _names(series, name))
    return StreamingResponse(rows, media_type="text/csv", headers=headers)


def _names(series: str | None, names: list[str]) -> list[str] | None:
    """The names of a comma-separated list and of `names`; None, which stands for all series, if there are none."""
    return [*(name for name in (series or "").split(",") if name), *names] or None


@router.get("/{run_id}/log", responses=NO_RUN)
def log(
    run_id: str,
    runs: RunsDep,
    after: Annotated[
        int,
        Query(ge=-1, le=2**62, description="The key of a line: the next ones. -1: the first ones. 0: the latest ones."),
    ] = 0,
) -> list[LogLinePublic]:
    return runs.log(run_id, after)


@router.get("/{run_id}/log.txt", responses={**NO_RUN, 200: TEXT}, response_class=StreamingResponse)
def log_text(run_id: str, runs: RunsDep) -> StreamingResponse:
    """The whole log, a line per line of the file."""
    runs.exists(run_id)
    headers = {"Content-Disposition": f'attachment; filename="{run_id}.log"'}
    return StreamingResponse(runs.log_text(run_id), media_type="text/plain; charset=utf-8", headers=headers)


@router.get("/{run_id}/checkpoints", responses=NO_RUN)
def checkpoints(run_id: str, runs: RunsDep) -> list[CheckpointPublic]:
    return runs.checkpoints(run_id)


@router.get(
    "/{run_id}/checkpoints/{step}/file",
    response_class=Download,
    responses=download_answers("application/octet-stream", {404: "No such run or checkpoint"}),
)
def checkpoint_file(run_id: str, step: int, runs: RunsDep) -> Download:
    path = runs.checkpoint_file(run_id, step)
    return Download(path, filename=f"{run_id}-{path.name}", media_type="application/octet-stream")
