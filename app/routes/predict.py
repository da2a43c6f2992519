"""POST /api/predict: what a trained run says of an image."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import BaseModel, Field

from app.deps import ModelsDep, PredictorDep, SettingsDep
from app.errors import ApiError, described
from app.predict import IMAGE_STATUS, Answer, ImageFault, ImageResult, ModelPublic, PredictionPublic, TimingPublic
from app.predict_upload import Upload, images

router = APIRouter(tags=["predict"])

MAX_TOP_K = 1000
_IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp")
_REQUEST: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "One image or many in the multipart field `file`, or one image as the body. "
        "JPEG, PNG, WebP, GIF (its first frame) or BMP, of any size and mode up to the limits.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
                    },
                }
            },
            **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in _IMAGE_TYPES},
        },
    }
}
_ERRORS = described(
    {
        404: "No such run",
        408: "The body arrived too slowly",
        409: "Nothing to predict with: no finished run, or no checkpoint",
        413: "The body or the image is too large",
        415: "Not a kind of image that is taken",
        422: "The image cannot be read, or a parameter is out of bounds",
        503: "The queue is full or the predictor is away; see Retry-After",
    }
)


class OnePrediction(BaseModel):
    """The answer for one image."""

    model: ModelPublic
    predictions: list[PredictionPublic] = Field(description="The likeliest first.")
    timing_ms: TimingPublic


class FileResult(BaseModel):
    index: int = Field(description="The file's place in the request, from 0.")
    filename: str | None
    predictions: list[PredictionPublic] | None = None
    error: ImageFault | None = None


class ManyPredictions(BaseModel):
    """The answer for many images, in their order; each has predictions or an error."""

    model: ModelPublic
    results: list[FileResult]
    timing_ms: TimingPublic


@router.post(
    "/api/predict",
    summary="Classify images",
    response_model=OnePrediction | ManyPredictions,
    responses=_ERRORS,
    openapi_extra=_REQUEST,
)
async def predict(
    request: Request,
    settings: SettingsDep,
    models: ModelsDep,
    predictor: PredictorDep,
    model: Annotated[
        str, Query(description="A run's id, a model's name, or `latest`: the latest finished run.")
    ] = "latest",
    top_k: Annotated[int, Query(ge=1, le=MAX_TOP_K, description="How many classes to name; all of them at most.")] = 5,
) -> Response:
    async with images(request, settings, predictor.memory) as uploads:
        run_id = await run_in_threadpool(models.resolve, model)
        answer = await predictor.predict(run_id, [bytes(upload.data) for upload in uploads], top_k)
    return Response(_render(uploads, answer).model_dump_json(exclude_none=True), media_type="application/json")


def _render(uploads: list[Upload], answer: Answer) -> OnePrediction | ManyPredictions:
    if len(uploads) == 1:
        return OnePrediction(
            model=answer.model, predictions=_predictions(answer.results[0]), timing_ms=answer.timing_ms
        )
    results = [
        FileResult(index=index, filename=upload.filename, predictions=result.predictions, error=result.error)
        for index, (upload, result) in enumerate(zip(uploads, answer.results, strict=True))
    ]
    return ManyPredictions(model=answer.model, results=results, timing_ms=answer.timing_ms)


def _predictions(result: ImageResult) -> list[PredictionPublic]:
    if result.error is not None:
        fault = result.error
        raise ApiError(IMAGE_STATUS.get(fault.code, 422), fault.code, fault.message)
    return result.predictions or []
