"""The Open Inference Protocol, version 2, over HTTP with JSON tensors, for clients of that protocol.

https://github.com/open-inference/open-inference-protocol/blob/main/specification/protocol/inference_rest.md

A model is a run's id, an alias, or `latest`. Its input is `image`, UINT8 [N, size, size, 3]; its outputs are
`probabilities`, FP32 [N, classes], and `label`, BYTES [N]. Errors have this server's error format.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from app.errors import invalid
from app.prediction.answers import Answer
from app.prediction.client import Target
from app.web.errors import described
from app.web.predict.hang_up import while_connected
from app.web.predict.sender import sender_of
from app.web.services import ModelsDep, PredictorDep, SettingsDep

router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])

INPUT, PROBABILITIES, LABEL = "image", "probabilities", "label"
NO_MODEL = described({404: "No such model", 409: "Nothing to predict with", 503: "The predictor is away"})
Name = Annotated[str, Path(max_length=60)]


class Live(BaseModel):
    live: bool


class Ready(BaseModel):
    ready: bool


class ServerMetadata(BaseModel):
    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    name: str
    datatype: str
    shape: list[int] = Field(description="-1 where any number will do.")


class ModelMetadata(BaseModel):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class InputTensor(BaseModel):
    name: Literal["image"]
    shape: list[Annotated[int, Field(ge=0, le=2**31)]] = Field(min_length=1, max_length=8)
    datatype: Literal["UINT8"]
    data: list[Any] = Field(description="In the order of rows, flat or nested.")
    parameters: dict[str, Any] | None = None


class WantedOutput(BaseModel):
    name: Literal["probabilities", "label"]
    parameters: dict[str, Any] | None = None


class InferRequest(BaseModel):
    id: str | None = Field(None, max_length=200)
    inputs: list[InputTensor] = Field(min_length=1, max_length=1)
    outputs: list[WantedOutput] | None = None
    parameters: dict[str, Any] | None = None


class OutputTensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any]


class InferAnswer(BaseModel):
    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


@router.get("")
def server_metadata() -> ServerMetadata:
    return ServerMetadata(name="trackside", version=version("trackside"), extensions=[])


@router.get("/health/live")
def live() -> Live:
    return Live(live=True)


@router.get("/health/ready", responses=described({503: "The predictor is away"}))
async def ready(predictor: PredictorDep) -> Ready:
    await predictor.ping()
    return Ready(ready=True)


@router.get("/models/{name}", responses=NO_MODEL)
async def model_metadata(name: Name, models: ModelsDep, predictor: PredictorDep) -> ModelMetadata:
    run = await models.find(name)
    target = await predictor.target(run)
    return ModelMetadata(
        name=name,
        versions=[run],
        platform="pytorch",
        inputs=[TensorMetadata(name=INPUT, datatype="UINT8", shape=[-1, target.size, target.size, 3])],
        outputs=[
            TensorMetadata(name=PROBABILITIES, datatype="FP32", shape=[-1, len(target.labels)]),
            TensorMetadata(name=LABEL, datatype="BYTES", shape=[-1]),
        ],
    )


@router.get("/models/{name}/ready", responses=NO_MODEL)
async def model_ready(name: Name, models: ModelsDep, predictor: PredictorDep) -> Ready:
    """Load the model if needed, so that the next request does not wait for it."""
    run = await models.find(name)
    target = await predictor.target(run)
    await predictor.predict(run, [bytes(3 * target.size**2)], 1, pixels=True)
    return Ready(ready=True)


@router.post("/models/{name}/infer", responses=NO_MODEL, response_model_exclude_none=True)
async def infer(
    request: Request, name: Name, body: InferRequest, models: ModelsDep, predictor: PredictorDep, settings: SettingsDep
) -> InferAnswer:
    run = await models.find(name)
    target = await predictor.target(run)
    images = pixels(body.inputs[0], target.size, settings.max_images)
    data, classes = [image.tobytes() for image in images], len(target.labels)
    asked = predictor.predict(run, data, classes, pixels=True, client=sender_of(request))
    answer = await while_connected(request, asked)
    wanted = [output.name for output in body.outputs] if body.outputs else [PROBABILITIES, LABEL]
    return InferAnswer(
        model_name=name,
        model_version=run,
        id=body.id,
        outputs=[tensor for tensor in outputs(answer, target) if tensor.name in wanted],
    )


def pixels(tensor: InputTensor, size: int, most: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The images as uint8 [N, size, size, 3]. Raises ApiError 422 for a wrong shape, count, type or range of values."""
    shape = tensor.shape
    if shape[1:] != [size, size, 3] or not 1 <= shape[0] <= most:
        raise invalid([(["inputs", 0, "shape"], f"must be [N, {size}, {size}, 3], N from 1 to {most}")])
    try:
        values = np.asarray(tensor.data)
    except ValueError:
        values = np.empty(0, object)
    if values.dtype.kind not in "iu" or values.size != np.prod(shape):
        reason = f"must be {int(np.prod(shape)):,} whole numbers, flat or nested evenly"
        raise invalid([(["inputs", 0, "data"], reason)])
    if values.min() < 0 or values.max() > 255:
        raise invalid([(["inputs", 0, "data"], "must be from 0 to 255")])
    return values.astype(np.uint8).reshape(shape)


def outputs(answer: Answer, target: Target) -> list[OutputTensor]:
    """The output tensors: probabilities FP32 [N, classes], in class order, and the top label of each image, [N]."""
    probabilities: list[float] = []
    labels: list[str] = []
    for result in answer.results:
        found = result.predictions or []
        row = [0.0] * len(target.labels)
        for item in found:
            row[item.index] = item.probability
        probabilities += row
        labels.append(found[0].label)
    count = len(labels)
    return [
        OutputTensor(name=PROBABILITIES, shape=[count, len(target.labels)], datatype="FP32", data=probabilities),
        OutputTensor(name=LABEL, shape=[count], datatype="BYTES", data=labels),
    ]
