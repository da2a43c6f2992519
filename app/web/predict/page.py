"""The predict page."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from app.web.forms import render
from app.web.predict.view import predict_page
from app.web.root import root
from app.web.services import DatasetsDep, ModelsDep

router = APIRouter(include_in_schema=False)


@router.get("/predict")
def show(
    request: Request,
    models: ModelsDep,
    datasets: DatasetsDep,
    model: Annotated[str, Query(max_length=40)] = "",
    beside: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    origin = str(request.base_url).rstrip("/") + root()
    return render(request, "predict/index.html", predict_page(models, datasets, model, beside, origin))
