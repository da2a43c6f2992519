"""The pages of datasets, and the statistics of each."""

from __future__ import annotations

from io import BytesIO
from typing import Annotated, Any, Literal
from urllib.parse import quote

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from PIL import Image
from pydantic import BaseModel

from app.datasets.statistics import RETRY_SECONDS, DatasetStatistics
from app.errors import ApiError, not_found
from app.storage.tables import Status
from app.web.datasets.explorer_view import MEANS_COLUMNS, ExplorerQuery, dataset_page
from app.web.datasets.view import DatasetsPage, dataset_card
from app.web.errors import described
from app.web.forms import render
from app.web.services import DatasetEditorDep, DatasetsDep, StatisticsDep, TasksDep
from trainer.data.format import DatasetRecord
from trainer.data.survey import Statistics

router = APIRouter()

SOURCES = ("torchvision:CIFAR100", "torchvision:CIFAR10", "torchvision:FashionMNIST", "torchvision:SVHN", "shapes100")
PNG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}
}


class BeingMeasured(BaseModel):
    status: Literal["measuring", "finished"]


@router.get("/datasets", include_in_schema=False)
def datasets_page(request: Request, datasets: DatasetsDep, tasks: TasksDep) -> Response:
    shown = tuple(task for task in tasks.list("dataset") if task.status != Status.FINISHED)
    page = DatasetsPage(cards=tuple(dataset_card(record) for record in datasets.list()), tasks=shown, sources=SOURCES)
    return render(request, "datasets/index.html", page)


@router.get("/datasets/{name}", include_in_schema=False)
def page(
    request: Request,
    name: str,
    query: Annotated[ExplorerQuery, Query()],
    datasets: DatasetsDep,
    editor: DatasetEditorDep,
    statistics: StatisticsDep,
) -> Response:
    record = datasets.get(name)
    measured = statistics.of(record)
    failed = statistics.failed(record)
    shown = dataset_page(datasets, record, editor.usage(name), query, measured, failed=failed)
    return render(request, "datasets/show.html", shown)


@router.post("/datasets/{name}/statistics", include_in_schema=False)
def measure_from_page(name: str, datasets: DatasetsDep, statistics: StatisticsDep) -> Response:
    record = datasets.get(name)
    statistics.begin(record)
    return RedirectResponse(f"/datasets/{quote(record.name)}", 303)


@router.get(
    "/api/datasets/{name}/statistics",
    tags=["datasets"],
    responses={
        **described(
            {
                404: "No such dataset",
                409: "Not measured yet: POST to the same path begins it",
                503: "They could not be computed",
            }
        ),
        202: {"model": BeingMeasured, "description": "Ask again"},
    },
    response_model=Statistics,
)
def statistics_of(name: str, datasets: DatasetsDep, statistics: StatisticsDep) -> Statistics | Response:
    """Class balance, exact duplicates, label conflicts, once they have been computed."""
    record = datasets.get(name)
    found = statistics.of(record)
    if found is not None:
        return found[0]
    refuse_failed(record, statistics)
    if not statistics.measuring(record):
        raise ApiError(409, "not_measured", "The statistics have not been computed: POST to this path begins it.")
    return JSONResponse(BeingMeasured(status="measuring").model_dump(), 202, headers={"Retry-After": "1"})


@router.post(
    "/api/datasets/{name}/statistics",
    tags=["datasets"],
    status_code=202,
    responses=described({404: "No such dataset", 503: "They could not be computed, less than a minute ago"}),
)
def measure(name: str, datasets: DatasetsDep, statistics: StatisticsDep) -> BeingMeasured:
    """Begin to compute the statistics, which takes seconds. Without effect if they are there or being computed."""
    record = datasets.get(name)
    statistics.begin(record)
    refuse_failed(record, statistics)
    return BeingMeasured(status="finished" if statistics.of(record) else "measuring")


def refuse_failed(record: DatasetRecord, statistics: DatasetStatistics) -> None:
    """Raises ApiError 503: the last computation failed."""
    if statistics.failed(record):
        message = (
            "The statistics could not be computed: the server's log says why. They can be tried again in a minute."
        )
        raise ApiError(503, "statistics_failed", message, headers={"Retry-After": f"{RETRY_SECONDS:.0f}"})


@router.get(
    "/api/datasets/{name}/means.png",
    tags=["datasets"],
    response_class=Response,
    responses={**PNG, **described({404: "No such dataset, or it has not been measured yet"})},
)
def means(name: str, datasets: DatasetsDep, statistics: StatisticsDep) -> Response:
    """The mean training image of each class as a PNG, ten per row, in class order."""
    found = statistics.of(datasets.get(name))
    if found is None:
        raise not_found("statistics of", name)
    images = found[1].means
    count, side = images.shape[:2]
    rows = -(-count // MEANS_COLUMNS)
    sheet = np.zeros((rows * MEANS_COLUMNS, side, side, 3), np.uint8)
    sheet[:count] = images
    joined = sheet.reshape(rows, MEANS_COLUMNS, side, side, 3).swapaxes(1, 2).reshape(rows * side, -1, 3)
    written = BytesIO()
    Image.fromarray(joined).save(written, "PNG")
    return Response(written.getvalue(), media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})
