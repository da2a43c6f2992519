"""A trained run as a classifier: images in, the likeliest classes out. The server and the command line share it."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors
import torch
from torch import Tensor, nn

from trainer import checkpoint
from trainer.data.errors import DatasetDamaged
from trainer.data.format import RECORD_FILE, DatasetRecord, Images, read_record
from trainer.data.resident import channel_constants
from trainer.inputs import network_input
from trainer.models import build_model
from trainer.rundir import read_spec
from trainer.spec import TrainSpec

BATCH = 64

log = logging.getLogger(__name__)


class NoCheckpoint(Exception):
    """The run has nothing (yet, or any more) to predict with."""


class Diverged(Exception):
    """The checkpoint's weights give numbers that are not finite."""


@dataclass(frozen=True)
class Prediction:
    label: str
    index: int
    probability: float
    superclass: str | None = None


@dataclass(frozen=True)
class Labels:
    """The names of a model's outputs, in order, and each one's superclass where there are any."""

    names: Sequence[str]
    superclasses: Sequence[str] | None

    @classmethod
    def of(cls, spec: TrainSpec, record: DatasetRecord) -> Labels:
        if record.superclasses is None or record.fine_to_coarse is None:
            return cls(record.classes, None)
        if spec.target == "coarse":
            return cls(record.superclasses, None)
        return cls(record.classes, [record.superclasses[coarse] for coarse in record.fine_to_coarse])


@dataclass(frozen=True)
class Classifier:
    step: int
    epoch: int
    sha256: str
    labels: Labels
    model: nn.Module
    constants: tuple[Tensor, Tensor]
    size: int
    device: torch.device

    @torch.inference_mode()
    def probabilities(self, images: Images) -> Tensor:
        """uint8 N×H×W×3 to float32 N×C on the CPU: as the trainer's own evaluation, without autocast."""
        batch = torch.tensor(images, device=self.device)
        logits: Tensor = self.model(network_input(batch, self.constants, self.size))
        return logits.float().softmax(1).cpu()

    def predict(self, images: Images, top_k: int) -> list[list[Prediction]]:
        """The `top_k` likeliest classes of each image, at most all of them. Raises Diverged."""
        top = self.probabilities(images).topk(min(top_k, len(self.labels.names)))
        rows = list(zip(top.values.tolist(), top.indices.tolist(), strict=True))
        if any(not math.isfinite(values[0]) for values, _ in rows):
            raise Diverged("The model's outputs are not finite: its training has diverged.")
        return [[self._named(i, p) for p, i in zip(*row, strict=True)] for row in rows]

    def _named(self, index: int, probability: float) -> Prediction:
        above = self.labels.superclasses
        return Prediction(self.labels.names[index], index, probability, above[index] if above else None)


def run_record(datasets: Path, run_dir: Path, spec: TrainSpec) -> DatasetRecord:
    """The record that the run was trained with: its own copy, else the data set's. Raises DatasetError."""
    if (own := run_dir / RECORD_FILE).is_file():
        return DatasetRecord.model_validate_json(own.read_bytes())
    record = read_record(datasets, spec.dataset.name)
    if spec.dataset.sha256 and spec.dataset.sha256 != record.sha256:
        raise DatasetDamaged(f"The data set {record.name} is not the one that this run was trained on.")
    return record


def candidates(run_dir: Path) -> list[checkpoint.CheckpointInfo]:
    """The run's checkpoints in the order in which they are tried: the best, then the latest."""
    best = checkpoint.best_checkpoint(run_dir)
    others = [info for info in reversed(checkpoint.list_checkpoints(run_dir)) if info != best]
    return [best, *others] if best else []


def load_classifier(
    run_dir: Path,
    info: checkpoint.CheckpointInfo,
    spec: TrainSpec,
    record: DatasetRecord,
    device: torch.device,
) -> Classifier:
    """Raises checkpoint.CheckpointDamaged where the file is gone or not what its sidecar vouches for."""
    labels = Labels.of(spec, record)
    try:
        weights = checkpoint.load(run_dir, info).part("model")
        model = build_model(spec.model, len(labels.names), spec.model.input_size or record.size)
        model.load_state_dict(weights)
    except (safetensors.SafetensorError, RuntimeError, ValueError, KeyError) as error:
        raise checkpoint.CheckpointDamaged(f"step {info.step}: {error}") from error
    model.to(device).to(memory_format=torch.channels_last)
    constants = channel_constants(record, device)
    size = spec.model.input_size or record.size
    return Classifier(info.step, info.epoch, info.sha256, labels, model.eval(), constants, size, device)


def load_best(run_dir: Path, spec: TrainSpec, record: DatasetRecord, device: torch.device) -> Classifier:
    """The best checkpoint that loads. Raises NoCheckpoint."""
    for info in candidates(run_dir):
        try:
            return load_classifier(run_dir, info, spec, record, device)
        except checkpoint.CheckpointDamaged as error:
            log.warning("%s: %s; trying the next", run_dir.name, error)
    raise NoCheckpoint("This run has no checkpoint to predict with.")


def open_run(run_dir: Path, datasets: Path, device: torch.device) -> tuple[Classifier, DatasetRecord]:
    """A run's best checkpoint, and the record that says how images are fitted. Raises NoCheckpoint, DatasetError."""
    spec = read_spec(run_dir)
    record = run_record(datasets, run_dir, spec)
    return load_best(run_dir, spec, record, device), record
