"""The requests of tasks, one frozen model per kind, and the file task.json that a task's process reads. Free of torch.

Files of other versions can be read: missing fields take their defaults, unknown ones are ignored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from trainer.spec.train_spec import TrainSpec

TaskKind = Literal["dataset", "evaluate", "export", "measure", "predict"]
OnUnreadable = Literal["refuse", "skip"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields that were set, as in JSON, without the kind."""
        return self.model_dump(mode="json", exclude={"kind"}, exclude_unset=True)


class Places(_Part):
    """The folders of the home that a task's process needs."""

    datasets: Path
    runs: Path


class DatasetRequest(_Part):
    """Add a dataset. `label` is the file name of an upload, which is deleted once the dataset exists.

    `manifest` is the path of a CSV or JSONL, `manifest_name` what it was called.
    """

    kind: Literal["dataset"] = "dataset"
    name: str
    source: str
    size: int | None = None
    fit: Literal["crop", "pad", "squash"] = "crop"
    on_unreadable: OnUnreadable = "refuse"
    label: str | None = None
    manifest: str | None = None
    manifest_name: str | None = None
    group_level: int | None = None
    group_column: str | None = None


class EvaluateRequest(_Part):
    """Evaluate exported model files, averaged if there are several, on a split of a dataset.

    `model` is the requested name, `run` what it was assigned to at the time. `own_dataset` is that of the model,
    `own_accuracy` its accuracy on the `own_images` test images there.
    """

    kind: Literal["evaluate"] = "evaluate"
    model: str
    run: str
    files: tuple[Path, ...]
    dataset: str
    split: Literal["train", "test", "val"] = "test"
    own_dataset: str = ""
    own_accuracy: float = 0.0
    own_images: int = 0
    custom_models: tuple[str, ...] = ()


class ExportRequest(_Part):
    """Export model files as one ONNX file; several are averaged in their probabilities."""

    kind: Literal["export"] = "export"
    files: tuple[Path, ...]
    target: Path
    custom_models: tuple[str, ...] = ()


class MeasureRequest(_Part):
    """Measure an ensemble's accuracy on the validation split of `spec`, and write it to `target` as JSON."""

    kind: Literal["measure"] = "measure"
    files: tuple[Path, ...]
    spec: TrainSpec
    target: Path
    custom_models: tuple[str, ...] = ()


class PredictRequest(_Part):
    """Classify an uploaded zip of images. `model` is the requested name, `run` what it was assigned to at the time."""

    kind: Literal["predict"] = "predict"
    model: str
    top_k: int
    run: str
    members: tuple[str, ...] = ()  # an ensemble's runs; empty in requests older than ensembles
    device: str
    source: str
    label: str


AnyRequest = DatasetRequest | EvaluateRequest | ExportRequest | MeasureRequest | PredictRequest
REQUEST: TypeAdapter[AnyRequest] = TypeAdapter(Annotated[AnyRequest, Field(discriminator="kind")])


def task_file(request: AnyRequest, places: Places) -> bytes:
    """Return the content of task.json: one flat object."""
    return orjson.dumps({**request.as_dict(), "kind": request.kind, **places.as_dict()})


def read_task_file(data: bytes) -> tuple[AnyRequest, Places]:
    """Parse task.json. Raises ValidationError, a ValueError."""
    return REQUEST.validate_json(data), Places.model_validate_json(data)


def request_of_file(data: bytes) -> tuple[TaskKind, dict[str, Any]]:
    """Return the kind, and the request as it was written, including unknown fields. Raises ValidationError."""
    stored = orjson.loads(data)
    kind = REQUEST.validate_python(stored).kind
    return kind, {name: value for name, value in stored.items() if name not in {"kind", *Places.model_fields}}
