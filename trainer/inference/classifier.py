"""A trained run as a classifier of images. Used by the server and the command line."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from trainer.data.format import DatasetRecord, Images
from trainer.data.pixels import pixels_of
from trainer.engine.portions import Portions
from trainer.errors import TrainerError
from trainer.exported.labels import Labels
from trainer.inference.out_of_distribution import ConfidenceReference, confidence_reference
from trainer.models import checkpoint
from trainer.models.build import build_model, count_flops
from trainer.models.inputs import Constants, constants_of, network_input
from trainer.rundir.calibration import read_calibration
from trainer.rundir.checkpoints import CheckpointDamaged, CheckpointInfo, best_checkpoint, list_checkpoints
from trainer.rundir.threshold import read_threshold
from trainer.spec.train_spec import TrainSpec

BATCH = 64

log = logging.getLogger(__name__)


class NoCheckpoint(TrainerError):
    """The run has no usable checkpoint: none was written yet, or they were deleted."""

    code = "no_checkpoint"


class OutputNotFinite(TrainerError):
    """The model's outputs are NaN or infinite: its training has diverged."""

    code = "diverged"


@dataclass(frozen=True)
class Prediction:
    label: str
    index: int
    probability: float
    superclass: str | None = None


@dataclass(frozen=True)
class Classifier:
    """`step` and `epoch` are None for an ensemble (trainer/inference/ensemble.py).

    `temperature` calibrates the probabilities (trainer/engine/calibration.py); None leaves them as they are.
    Predictions whose calibrated probability is below `threshold` are "not sure"; None if there is no threshold.
    """

    step: int | None
    epoch: int | None
    sha256: str
    labels: Labels
    model: nn.Module
    constants: Constants
    size: int
    device: torch.device
    reference: ConfidenceReference | None = None
    temperature: float | None = None
    threshold: float | None = None

    @cached_property
    def flops(self) -> int:
        """FLOPs of one image's forward pass."""
        return count_flops(self.model, self.size)

    @cached_property
    def portions(self) -> Portions:
        return Portions.of(self.device, self.size)

    @torch.inference_mode()
    def probabilities(self, images: Images) -> Tensor:
        """Predict uint8 N×H×W×3: float32 N×C on the CPU, not calibrated.

        Computed as in the trainer's evaluation, without autocast.
        """
        found: list[Tensor] = []

        def add(part: slice) -> None:
            batch = torch.tensor(images[part], device=self.device)
            logits: Tensor = self.model(network_input(batch, self.constants, self.size))
            found.append(logits.float().softmax(1).cpu())

        self.portions.each(len(images), add)
        return torch.cat(found)

    def calibrated(self, probabilities: Tensor) -> Tensor:
        """The probabilities (N, C) of the logits divided by the temperature, if the model has one."""
        if self.temperature is None:
            return probabilities
        return (probabilities.clamp_min(torch.finfo(torch.float32).tiny).log() / self.temperature).softmax(1)

    def predict(self, images: Images, top_k: int) -> list[list[Prediction]]:
        """Return the `top_k` most likely classes of each image (uint8 N×H×W×3), or all if there are fewer.

        Raises OutputNotFinite.
        """
        return self.most_likely(self.calibrated(self.probabilities(images)), top_k)

    def most_likely(self, probabilities: Tensor, top_k: int) -> list[list[Prediction]]:
        """Return the `top_k` most likely classes of each row (N, C). Raises OutputNotFinite."""
        top = probabilities.topk(min(top_k, len(self.labels.names)))
        rows = list(zip(top.values.tolist(), top.indices.tolist(), strict=True))
        if any(not math.isfinite(values[0]) for values, _ in rows):
            raise OutputNotFinite("The model's outputs are not finite: its training has diverged.")
        return [[self.named(i, p) for p, i in zip(*row, strict=True)] for row in rows]

    def named(self, index: int, probability: float) -> Prediction:
        above = self.labels.superclasses
        return Prediction(self.labels.names[index], index, probability, above[index] if above else None)


def candidates(run_dir: Path) -> list[CheckpointInfo]:
    """The run's checkpoints in the order in which they are tried: the best, then the others from the latest."""
    best = best_checkpoint(run_dir)
    others = [info for info in reversed(list_checkpoints(run_dir)) if info != best]
    return [best, *others] if best else []


def load_classifier(
    run_dir: Path,
    info: CheckpointInfo,
    spec: TrainSpec,
    record: DatasetRecord,
    device: torch.device,
) -> Classifier:
    """Load a checkpoint. Raises CheckpointDamaged: the file is missing, or does not match its sidecar or the spec."""
    labels = Labels.of(spec, record)
    try:
        weights = checkpoint.load(run_dir, info).part("model")
        model = build_model(spec.model, len(labels.names), spec.model.input_size or record.size)
        model.load_state_dict(weights)
    except (RuntimeError, ValueError, KeyError) as error:
        raise CheckpointDamaged(f"step {info.step}: {error}") from error
    model.to(device).to(memory_format=torch.channels_last)
    constants = constants_of(pixels_of(spec, record), device)
    size = spec.model.input_size or record.size
    reference = confidence_reference(run_dir, info.step)
    network = model.eval()
    classifier = Classifier(info.step, info.epoch, info.sha256, labels, network, constants, size, device, reference)
    return with_settings(classifier, run_dir)


def with_settings(classifier: Classifier, run_dir: Path) -> Classifier:
    """The classifier with the temperature and the threshold of its run, which may be written after its weights."""
    calibration = read_calibration(run_dir, classifier.step)
    temperature = None if calibration is None else calibration.temperature
    return replace(classifier, temperature=temperature, threshold=read_threshold(run_dir))


def load_best(run_dir: Path, spec: TrainSpec, record: DatasetRecord, device: torch.device) -> Classifier:
    """Load the first of `candidates` that is not damaged. Raises NoCheckpoint."""
    for info in candidates(run_dir):
        try:
            return load_classifier(run_dir, info, spec, record, device)
        except CheckpointDamaged as error:
            log.warning("%s: %s; trying the next", run_dir.name, error)
    raise NoCheckpoint("This run has no checkpoint to predict with.")
