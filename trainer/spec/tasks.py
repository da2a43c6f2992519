"""What a task is asked to do: one frozen model per kind, and the file task.json that its process reads. Free of torch.

A file written by another version is read too: fields that it lacks take their defaults, unknown ones are ignored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from trainer.spec.train_spec import TrainSpec

TaskKind = Literal["dataset", "export", "measure", "predict"]
OnUnreadable = Literal["refuse", "skip"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it: the fields that were given, without the kind."""
        return self.model_dump(mode="json", exclude={"kind"}, exclude_unset=True)


class Places(_Part):
    """The folders of the home that a task's process is told of."""

    datasets: Path
    runs: Path


class DatasetRequest(_Part):
    """Add a dataset. `label` is an upload's file name; an upload is deleted once the dataset is there."""

    kind: Literal["dataset"] = "dataset"
    name: str
    source: str
    size: int | None = None
    fit: Literal["crop", "pad", "squash"] = "crop"
    on_unreadable: OnUnreadable = "refuse"
    label: str | None = None


class ExportRequest(_Part):
    """Write models' files, of several the mean of their probabilities, as one ONNX file."""

    kind: Literal["export"] = "export"
    files: tuple[Path, ...]
    target: Path
    custom_models: tuple[str, ...] = ()


class MeasureRequest(_Part):
    """Write the accuracy of an ensemble, on the validation split of `spec`, as JSON."""

    kind: Literal["measure"] = "measure"
    files: tuple[Path, ...]
    spec: TrainSpec
    target: Path
    custom_models: tuple[str, ...] = ()


class PredictRequest(_Part):
    """Classify an uploaded zip of images. `model` is the name that was asked for, `run` what it stood for then."""

    kind: Literal["predict"] = "predict"
    model: str
    top_k: int
    run: str
    members: tuple[str, ...] = ()  # an ensemble's runs; empty in requests older than ensembles
    device: str
    source: str
    label: str


AnyRequest = DatasetRequest | ExportRequest | MeasureRequest | PredictRequest
REQUEST: TypeAdapter[AnyRequest] = TypeAdapter(Annotated[AnyRequest, Field(discriminator="kind")])


def task_file(request: AnyRequest, places: Places) -> bytes:
    """The content of task.json: all in one flat object."""
    return orjson.dumps({**request.as_dict(), "kind": request.kind, **places.as_dict()})


def read_task_file(data: bytes) -> tuple[AnyRequest, Places]:
    """Raises ValidationError, a ValueError."""
    return REQUEST.validate_json(data), Places.model_validate_json(data)


def request_of_file(data: bytes) -> tuple[TaskKind, dict[str, Any]]:
    """The kind, and the request as it was given, with fields that are unknown here. Raises ValidationError."""
    stored = orjson.loads(data)
    kind = REQUEST.validate_python(stored).kind
    return kind, {name: value for name, value in stored.items() if name not in {"kind", *Places.model_fields}}
