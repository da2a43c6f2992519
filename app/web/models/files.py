"""Downloads of models as safetensors and ONNX."""

from __future__ import annotations

import asyncio
import time

from fastapi import APIRouter, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from app.errors import ApiError
from app.jobs.tasks import TaskPublic
from app.models.timm_folder import timm_folder
from app.prediction.members import JOINT, members_of
from app.web.assets import Download, download_answers
from app.web.errors import described
from app.web.location import NEW_TASK, located
from app.web.services import ModelFilesDep, ModelsDep, OnnxFilesDep

router = APIRouter(prefix="/api/models", tags=["models"])

EXPORT_SECONDS, POLL_SECONDS = 30.0, 0.1

_RESPONSES = download_answers(
    "application/octet-stream",
    {404: "No such model", 409: "There is no file to download yet, or it is damaged"},
)


@router.get("/{name}/file", response_class=Download, responses=_RESPONSES)
def file(name: str, models: ModelsDep, files: ModelFilesDep) -> Download:
    """The best checkpoint's weights as safetensors, with the metadata needed to rebuild the classifier.

    `trackside predict FILE PATH...` classifies images with the file.
    """
    model = models.resolve(name)
    if JOINT in model:
        message = f"{name} is an ensemble: take its runs {', '.join(members_of(model))}, or its ONNX graph."
        raise ApiError(409, "is_ensemble", message)
    found = files.file(model)
    filename = f"{name}-{found.about.step}.safetensors"
    return Download(found.path, filename=filename, media_type="application/octet-stream")


@router.get("/{name}/timm", response_class=Download, responses=_RESPONSES)
def timm(name: str, models: ModelsDep, files: ModelFilesDep) -> Download:
    """A network of timm as a zip of `model.safetensors`, `config.json` and a model card, as timm and Hugging Face read
    them: `timm.create_model("local-dir:FOLDER", pretrained=True)`."""
    model = models.resolve(name)
    if JOINT in model:
        raise ApiError(409, "is_ensemble", f"{name} is an ensemble: take its runs {', '.join(members_of(model))}.")
    found, path = timm_folder(files, model)
    return Download(path, filename=f"{name}-{found.about.step}.zip", media_type="application/zip")


@router.get(
    "/{name}/onnx",
    response_class=Download,
    responses=_RESPONSES
    | described({409: "It has not been exported, or the export failed", 503: "It is still being exported"}),
)
async def onnx(name: str, models: ModelsDep, exports: OnnxFilesDep) -> Download:
    """The model as an ONNX graph: `image`, uint8 [N, size, size, 3] → `probabilities`, float32 [N, classes].

    POST to the same path exports it. A call waits up to 30 s for an export at work, then returns 503 with Retry-After.
    The header `Onnx-Largest-Difference` is the maximum absolute difference of its probabilities on test images.
    """
    model = await run_in_threadpool(models.resolve, name)
    found = await run_in_threadpool(exports.look, model)
    if found.report is None:
        task = await run_in_threadpool(exports.task_of, found)
        if task is None:
            raise ApiError(409, "not_exported", "The model has not been exported: POST to this path begins it.")
        deadline = time.monotonic() + EXPORT_SECONDS
        while not await run_in_threadpool(exports.done, task.id):
            if time.monotonic() > deadline:
                message = f"The export is still at work: see /api/tasks/{task.id}, and ask again."
                raise ApiError(503, "exporting", message, {"task": task.id}, headers={"Retry-After": "5"})
            await asyncio.sleep(POLL_SECONDS)
        found = await run_in_threadpool(exports.look, model)
    if found.report is None:
        raise ApiError(503, "exporting", "The model has a newer checkpoint: ask again.", headers={"Retry-After": "1"})
    headers = {"Onnx-Largest-Difference": f"{found.report.largest_difference:.3g}"}
    return Download(found.path, filename=f"{name}.onnx", media_type="application/octet-stream", headers=headers)


class OnnxExport(BaseModel):
    """`task` exports the model; null if the file is there already."""

    task: TaskPublic | None


@router.post(
    "/{name}/onnx",
    status_code=202,
    responses=NEW_TASK
    | described(
        {
            404: "No such model",
            409: "There is nothing to export yet, or it is damaged",
            501: "The packages for it are not installed",
            503: "There is no worker",
        }
    ),
)
def export(name: str, models: ModelsDep, exports: OnnxFilesDep, response: Response) -> OnnxExport:
    """Have a worker export the model as an ONNX graph. Without effect if it is exported or being exported."""
    found = exports.look(models.resolve(name))
    if found.report is not None:
        return OnnxExport(task=None)
    return OnnxExport(task=located(exports.begin(found), response))
