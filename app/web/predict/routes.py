"""POST /api/predict and /api/predict/saliency: predictions and occlusion maps."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from app.errors import ApiError
from app.prediction.answers import (
    IMAGE_STATUS,
    Answer,
    FamiliarityPublic,
    ImageFault,
    ImageResult,
    ModelPublic,
    PredictionPublic,
    SaliencyPublic,
    TimingPublic,
)
from app.web.errors import described
from app.web.predict.direct_route import DirectRoute
from app.web.predict.hang_up import while_connected
from app.web.predict.sender import sender_of
from app.web.predict.upload import Upload, images
from app.web.services import Services
from trainer.data.image_formats import FORMATS, NAMES

router = APIRouter(tags=["predict"], route_class=DirectRoute)

MAX_TOP_K = 1000
_IMAGE_BODIES = {known.media_type: {"schema": {"type": "string", "format": "binary"}} for known in FORMATS}


def _request(file: dict[str, Any], how_many: str) -> dict[str, Any]:
    form = {"type": "object", "required": ["file"], "properties": {"file": file}}
    return {
        "requestBody": {
            "required": True,
            "description": f"{how_many} {NAMES} are read (of several frames or pages, the first), of any size and mode "
            "up to the limits; HEIC needs the extra `heic`.",
            "content": {"multipart/form-data": {"schema": form}, **_IMAGE_BODIES},
        }
    }


_FILE: dict[str, Any] = {"type": "string", "format": "binary"}
_REQUEST = _request(
    {"type": "array", "items": _FILE, "minItems": 1},
    "One image or many in the multipart field `file`, or one image as the body.",
)
_REQUEST_ONE = _request(_FILE, "One image, in the multipart field `file` or as the body.")
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


class ModelQuery(BaseModel):
    model: str = Field("latest", description="A run's id, a model's name, or `latest`: the latest finished run.")


class PredictQuery(ModelQuery):
    top_k: int = Field(5, ge=1, le=MAX_TOP_K, description="How many classes to name; all of them at most.")
    calibrated: bool = Field(
        True, description="False gives the probabilities as the network computes them, without its temperature."
    )


class SaliencyQuery(ModelQuery):
    index: int | None = Field(
        None, alias="class", ge=0, le=10**6, description="A prediction's `index`; the likeliest class without it."
    )


DECISION = Field(
    None, description="Whether the likeliest class reaches the model's threshold; left out if it has none."
)
CALIBRATED = Field(
    description="Whether the probabilities were corrected by a temperature that was fitted on validation images."
)


class OnePrediction(BaseModel):
    """The response for one image."""

    model: ModelPublic
    predictions: list[PredictionPublic] = Field(description="The likeliest first.")
    decision: Literal["accept", "unsure"] | None = DECISION
    familiarity: FamiliarityPublic | None = Field(
        None, description="Left out where too few right validation answers were kept to tell."
    )
    calibrated: bool = CALIBRATED
    cold: bool = Field(description="Whether this request had to load the model.")
    timing_ms: TimingPublic


class FileResult(BaseModel):
    index: int = Field(description="The file's place in the request, from 0.")
    filename: str | None
    predictions: list[PredictionPublic] | None = None
    decision: Literal["accept", "unsure"] | None = DECISION
    familiarity: FamiliarityPublic | None = None
    error: ImageFault | None = None


class ManyPredictions(BaseModel):
    """The response for several images, in request order; each has predictions or an error."""

    model: ModelPublic
    results: list[FileResult]
    calibrated: bool = CALIBRATED
    cold: bool
    timing_ms: TimingPublic


@router.post(
    "/api/predict",
    summary="Classify images",
    response_model=OnePrediction | ManyPredictions,
    responses=_ERRORS,
    openapi_extra=_REQUEST,
)
async def predict(request: Request, query: Annotated[PredictQuery, Query()]) -> Response:
    services: Services = request.app.state.services
    async with images(request, services.settings, services.uploads) as uploads:
        run_id = await services.models.find(query.model)
        data = [upload.take() for upload in uploads]
        asked = services.predictor.predict(
            run_id, data, query.top_k, calibrated=query.calibrated, client=sender_of(request)
        )
        answer = await while_connected(request, asked)
    return _json(_render(uploads, answer))


@router.post(
    "/api/predict/saliency",
    summary="Show where in an image a model sees a class",
    response_model=SaliencyPublic,
    responses=_ERRORS,
    openapi_extra=_REQUEST_ONE,
)
async def saliency(request: Request, query: Annotated[SaliencyQuery, Query()]) -> Response:
    """The occlusion map: how the class's probability changes when each part of the image is covered.

    Takes about fifty times as long as the network needs for a prediction. Predictions have priority.
    """
    services: Services = request.app.state.services
    async with images(request, services.settings, services.uploads) as uploads:
        if len(uploads) > 1:
            raise ApiError(422, "one_image", "Send one image at a time.")
        run_id = await services.models.find(query.model)
        asked = services.predictor.saliency(run_id, uploads[0].take(), query.index, client=sender_of(request))
        answer = await while_connected(request, asked)
    return _json(answer)


def _json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(exclude_none=True), media_type="application/json")


def _render(uploads: list[Upload], answer: Answer) -> OnePrediction | ManyPredictions:
    if len(uploads) == 1:
        only = answer.results[0]
        return OnePrediction(
            model=answer.model,
            predictions=_predictions(only),
            decision=only.decision,
            familiarity=only.familiarity,
            calibrated=answer.calibrated,
            cold=answer.cold,
            timing_ms=answer.timing_ms,
        )
    results = [
        FileResult(
            index=index,
            filename=upload.filename,
            predictions=result.predictions,
            decision=result.decision,
            familiarity=result.familiarity,
            error=result.error,
        )
        for index, (upload, result) in enumerate(zip(uploads, answer.results, strict=True))
    ]
    return ManyPredictions(
        model=answer.model,
        results=results,
        calibrated=answer.calibrated,
        cold=answer.cold,
        timing_ms=answer.timing_ms,
    )


def _predictions(result: ImageResult) -> list[PredictionPublic]:
    if result.error is not None:
        fault = result.error
        raise ApiError(IMAGE_STATUS.get(fault.code, 422), fault.code, fault.message)
    return result.predictions or []
