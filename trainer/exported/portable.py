"""An exported model: one safetensors file with the best checkpoint's weights and everything needed for inference.

The metadata entry `trackside_model` is a Portable as JSON. The bytes of the weights are copied from the checkpoint,
without the state of the optimizer and the loop; nothing is unpickled. trainer/inference/rebuild.py makes a classifier
from the file. Free of torch.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trainer.data.format import Fit
from trainer.errors import TrainerError
from trainer.spec.dataset_spec import PixelSpec
from trainer.spec.model_spec import ModelSpec
from trainer.spec.part import STORED
from trainer.spec.timm_models import Interpolation
from trainer.system.durable import placed

METADATA = "trackside_model"
_LENGTH_BYTES = 8  # a safetensors file begins with its header's length, little-endian


class PortableDamaged(TrainerError):
    """The file is not a valid exported model, or the checkpoint to export does not have its recorded hash."""


class Portable(BaseModel):
    """Metadata of an exported model. Images are fitted to `size` × `size` pixels by `fit`, each channel is normalized
    as (x/255 − mean)/std, and they are resized to `input_size` by `interpolation`, with antialiasing, if that differs.
    `superclasses` has one per class."""

    model_config = ConfigDict(frozen=True)

    format: Literal["trackside-model"] = "trackside-model"
    version: Literal[1] = 1
    model: ModelSpec
    classes: list[str] = Field(min_length=2)
    superclasses: list[str] | None
    size: int = Field(ge=1, le=4096)
    input_size: int = Field(ge=1, le=4096)
    fit: Fit
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Interpolation = "bilinear"
    dataset: str
    target: Literal["fine", "coarse"]
    run: str
    step: int
    epoch: int
    checkpoint_sha256: str
    temperature: float | None = Field(
        None, gt=0, description="Dividing the logits by it calibrates the probabilities; null if it is not known."
    )
    measured: dict[str, float] = Field(description="val/* of this checkpoint, test/* of the run's selected one.")

    @property
    def pixels(self) -> PixelSpec:
        return PixelSpec(mean=self.mean, std=self.std, interpolation=self.interpolation)

    @model_validator(mode="after")
    def a_superclass_for_each(self) -> Portable:
        if self.superclasses is not None and len(self.superclasses) != len(self.classes):
            raise ValueError("superclasses: one is needed for each class")
        return self


@dataclass(frozen=True)
class Packing:
    """The layout of an exported file: its first bytes, and the byte ranges of the checkpoint that follow."""

    head: bytes
    spans: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        return len(self.head) + sum(end - begin for begin, end in self.spans)


def plan_packing(checkpoint: Path, about: Portable) -> Packing:
    """Plan the file; only the checkpoint's header is read. Raises PortableDamaged, FileNotFoundError."""
    entries, start = _read_header(checkpoint)
    kept: dict[str, Any] = {METADATA: about.model_dump_json()}
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **kept}}
    spans, at = [], 0
    for name, entry in sorted(entries.items(), key=lambda item: _offsets(item[1])):
        if name.startswith("model."):
            begin, end = _offsets(entry)
            header[name.removeprefix("model.")] = {**entry, "data_offsets": [at, at + end - begin]}
            spans.append((start + begin, start + end))
            at += end - begin
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the weights begin at a multiple of eight
    return Packing(len(text).to_bytes(_LENGTH_BYTES, "little") + text, tuple(spans))


def write_packing(checkpoint: Path, sha256: str, packing: Packing, target: Path) -> None:
    """Write the file atomically; concurrent writers are safe. Raises PortableDamaged: the checkpoint's hash differs."""
    with checkpoint.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if hashlib.sha256(data).hexdigest() != sha256:
            raise PortableDamaged(f"{checkpoint.name} does not have the hash that was recorded for it")
        target.parent.mkdir(parents=True, exist_ok=True)
        with placed(target) as fresh, fresh.open("wb") as out:
            out.write(packing.head)
            for begin, end in packing.spans:
                out.write(data[begin:end])


def read_portable(path: Path) -> Portable:
    """Read the metadata of an exported model. Raises PortableDamaged, OSError."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise PortableDamaged(f"{path.name} is not a safetensors file, or is damaged: {error}") from None
    try:
        return Portable.model_validate_json(metadata[METADATA], context=STORED)
    except (ValidationError, KeyError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "it has no such metadata"
        raise PortableDamaged(f"{path.name} is not a model exported by Trackside: {reason}") from None


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Return a safetensors file's header entries by tensor name, and the offset of the tensors' bytes.

    The library validates the header but does not expose the offsets: they are parsed after it has been validated.
    """
    try:
        with safetensors.safe_open(path, framework="numpy"), path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            entries: dict[str, Any] = json.loads(file.read(length))
    except safetensors.SafetensorError as error:
        raise PortableDamaged(f"{path.name} is damaged: {error}") from None
    entries.pop("__metadata__", None)
    return entries, _LENGTH_BYTES + length


def _offsets(entry: dict[str, Any]) -> tuple[int, int]:
    begin, end = entry["data_offsets"]
    return begin, end
