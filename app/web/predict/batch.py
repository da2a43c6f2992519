"""POST /api/predict/batch: creates a task that classifies a zip of images and writes the predictions to a file."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from app.errors import ApiError
from app.fields import Line, RequestBody
from app.jobs.tasks import TaskPublic, upload_label
from app.prediction.members import members_of
from app.runs.names import LATEST
from app.web.errors import described
from app.web.forms import checked
from app.web.location import NEW_TASK, located
from app.web.multipart import MULTIPART, media_type
from app.web.predict.routes import MAX_TOP_K
from app.web.services import ModelsDep, SettingsDep, TasksDep
from app.web.upload_file import received_form
from trainer.data.sources.inspection import inspect_zip
from trainer.rundir.folder import TaskDir
from trainer.spec.tasks import PredictRequest

router = APIRouter(tags=["predict"])


class BatchRequest(RequestBody):
    """The model (a run's id, a model's name, or `latest`), and the number of classes per image."""

    model: Line = LATEST
    top_k: int = Field(5, ge=1, le=MAX_TOP_K)


@router.post(
    "/api/predict/batch",
    summary="Classify a zip of images",
    status_code=202,
    responses=NEW_TASK
    | described(
        {
            404: "No such run",
            409: "Nothing to predict with: no finished run, or no checkpoint",
            413: "The zip is too large",
            415: "Not a multipart form",
            507: "No space left on device",
        }
    ),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["file"],
                        "properties": {
                            "file": {"type": "string", "format": "binary", "description": "A zip."},
                            **BatchRequest.model_json_schema()["properties"],
                        },
                    }
                }
            },
        }
    },
)
async def predict_batch(
    request: Request, response: Response, tasks: TasksDep, models: ModelsDep, settings: SettingsDep
) -> TaskPublic:
    """Start classifying. The task reports the progress, and `/api/tasks/{id}/file` returns the predictions."""
    if media_type(request) != MULTIPART:
        raise ApiError(415, "unsupported_body", "The zip is sent as the field `file` of a multipart form.")
    async with received_form(request, settings.uploads) as form:
        file = form.required_file()
        wanted = checked(BatchRequest, {name: value for name, value in form.fields.items() if value != ""})
        # A name may be assigned to another run later: the task uses the present one.
        run_id = await run_in_threadpool(models.resolve_trained, wanted.model)

        def request_for(folder: TaskDir) -> PredictRequest:
            return PredictRequest(
                model=wanted.model,
                top_k=wanted.top_k,
                run=run_id,
                members=tuple(members_of(run_id)),
                device=settings.predictor_device,
                source=str(folder.upload),
                label=upload_label(file.name),
            )

        def check(folder: TaskDir) -> None:
            inspect_zip("images", folder.upload)

        made = await run_in_threadpool(tasks.create_with_upload, file.path, check, request_for)
        return located(made, response)
