"""The training state: model, optimizers and all else that decides the next step, and its form in a checkpoint."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from trainer.data.pixels import pixels_of
from trainer.engine.optim import Optimizers
from trainer.engine.resident import ResidentData
from trainer.models import checkpoint
from trainer.models.build import build_model
from trainer.models.checkpoint import part_of
from trainer.models.device import accumulator
from trainer.models.inputs import constants_of, normalize
from trainer.models.pretrained import split_head
from trainer.models.swift import WHITENING_IMAGES, Swift, whitening_batch
from trainer.rundir.folder import RunDir
from trainer.spec.train_spec import SelectBy, TrainSpec


@dataclass
class Progress:
    """The part of the training state that is not tensors.

    `validation` holds the latest figures of the validation split, `best` those at `best_step`, `best_acc` the accuracy
    among them (-1 before there is one). `window_steps` counts the steps since the last logged one.
    """

    step: int = 0
    best_acc: float = -1.0
    best_step: int = 0
    best: dict[str, float] = field(default_factory=dict)
    validation: dict[str, float] = field(default_factory=dict)
    window_steps: int = 0
    elapsed: float = 0.0  # seconds of all attempts so far
    scaler: dict[str, float] = field(default_factory=dict)

    def stagnates(self, epochs: int, steps_per_epoch: int) -> bool:
        """Early stopping: whether `epochs` epochs, if not 0, have passed since the best one."""
        waited = (self.step - self.best_step) / steps_per_epoch
        return bool(epochs) and self.best_acc >= 0 and waited >= epochs

    @property
    def summary(self) -> dict[str, float]:
        """The last validation, and the best one."""
        if self.best_acc < 0:
            return dict(self.validation)
        best = {name.replace("val/", "best/"): value for name, value in self.best.items() if name.startswith("val/")}
        return {**self.validation, **best, "best/val_acc": self.best_acc, "best/step": self.best_step}

    def improves(self, values: dict[str, float], select_by: SelectBy) -> bool:
        """Whether a validation is better than the best one so far. A tie is not, NaN is not."""
        now = values.get(f"val/{select_by}", math.nan)
        if self.best_acc < 0:
            return math.isfinite(now)
        before = self.best.get(f"val/{select_by}", self.best_acc)  # a checkpoint of an earlier version has no `best`
        return now < before if select_by == "loss" else now > before


@dataclass
class Trainee:
    """What the loop trains. `stepped` is the part of `model` that a step runs: only the head if features are cached.

    `average` is the moving average (of decay `decay`) of the weights of `stepped`; if there is one, it is evaluated in
    their place. `window` (2,) sums the loss and accuracy of the steps since the last logged one. `frozen` is
    the backbone as long as it is not trained.
    """

    model: nn.Module
    stepped: nn.Module
    optimizers: Optimizers
    average: nn.Module | None
    scaler: torch.amp.GradScaler | None
    window: Tensor
    decay: float
    frozen: nn.Module | None

    @property
    def evaluated(self) -> nn.Module:
        return self.stepped if self.average is None else self.average

    def train(self) -> None:
        """Set training mode. A frozen backbone stays in evaluation mode and so keeps its BatchNorm statistics."""
        if self.stepped.training and (self.frozen is None or not self.frozen.training):
            return  # always, except at the first step and after an evaluation
        self.stepped.train()
        if self.frozen is not None:
            self.frozen.eval()

    def unfreeze_from(self, unfreeze_epoch: int, epoch: int) -> None:
        if self.frozen is not None and self.stepped is self.model:
            unfreezes = bool(unfreeze_epoch) and epoch >= unfreeze_epoch
            self.frozen.requires_grad_(unfreezes)
            if unfreezes:
                self.frozen.train()
                self.frozen = None

    def backward(self, loss: Tensor) -> None:
        scaled = loss if self.scaler is None else self.scaler.scale(loss)
        scaled.backward()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def update_average(self, step: int) -> None:
        """Update the moving average after `step` steps. It follows the weights closely at first."""
        if self.average is None:
            return
        weight = 1 - min(self.decay, (step + 1) / (step + 10))
        mean, current = self.average.state_dict(), self.stepped.state_dict()
        floats = [name for name, value in current.items() if value.is_floating_point()]
        torch._foreach_lerp_([mean[name] for name in floats], [current[name] for name in floats], weight)

    def lay_out(self, layout: torch.memory_format) -> None:
        """Store the weights, their average and the optimizers' state in another memory layout."""
        self.model.to(memory_format=layout)
        if self.average is not None:
            self.average.to(memory_format=layout)
        self.optimizers.restore(self.optimizers.state_tensors())  # fused kernels need the layout of the parameters

    def is_finite(self) -> bool:
        """Whether the weights, and the loss since the last logged step, are finite. Waits for the device."""
        floats = [value for value in self.stepped.state_dict().values() if value.is_floating_point()]
        return bool(torch.stack([torch.isfinite(value).all() for value in (*floats, self.window)]).all())

    def tensors(self) -> dict[str, Tensor]:
        """All tensors of a checkpoint. "model.*" are the weights that are evaluated and used for prediction.

        Where they are a moving average, "raw.*" are the trained weights.
        """
        weights = self.model.state_dict()
        tensors = {}
        if self.average is not None:
            tensors = {f"raw.{name}": value for name, value in weights.items()}
            weights = self.model.state_dict() | self._whole(self.average.state_dict())
        tensors |= {f"model.{name}": value for name, value in weights.items()}
        tensors |= {f"optim.{name}": value for name, value in self.optimizers.state_tensors().items()}
        tensors |= {"window": self.window, "rng.cpu": torch.get_rng_state()}
        if self.window.device.type == "cuda":
            tensors["rng.cuda"] = torch.cuda.get_rng_state(self.window.device)
        return tensors

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Load all but the random states of what `tensors` returned."""
        raw, weights = part_of(tensors, "raw"), part_of(tensors, "model")
        self.model.load_state_dict(raw or weights)
        if self.average is not None:
            self.average.load_state_dict(self._part(weights))
        self.optimizers.restore(part_of(tensors, "optim"))
        self.window.copy_(tensors["window"])

    def restore(self, loaded: checkpoint.Loaded) -> Progress:
        """Load the state of a checkpoint, random generators included, and return the rest of it."""
        self.load(loaded.tensors)
        torch.set_rng_state(loaded.tensors["rng.cpu"])
        if "rng.cuda" in loaded.tensors:
            torch.cuda.set_rng_state(loaded.tensors["rng.cuda"], self.window.device)
        progress = Progress(**loaded.state)
        if self.scaler is not None and progress.scaler:
            self.scaler.load_state_dict(progress.scaler)
        return progress

    def load_evaluated(self, weights: dict[str, Tensor]) -> None:
        """Load a checkpoint's "model.*" weights into the module that is evaluated."""
        self.evaluated.load_state_dict(self._part(weights))

    def _prefix(self) -> str:
        """Prefix of the parameter names of `stepped` in `model`."""
        return next((f"{name}." if name else "" for name, part in self.model.named_modules() if part is self.stepped))

    def _whole(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return {self._prefix() + name: value for name, value in weights.items()}

    def _part(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        prefix = self._prefix()
        return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def make_trainee(
    spec: TrainSpec, data: ResidentData, device: torch.device, precision: torch.dtype, *, fresh: bool
) -> Trainee:
    """Return a trainee with initial weights.

    Only if `fresh` are weights read from a file or computed from images; else the caller loads others.
    """
    model = fresh_model(spec, data, device, initialized=fresh)
    stepped: nn.Module = model
    backbone = None
    if spec.model.freeze:
        backbone, head = split_head(model)
        backbone.requires_grad_(bool(spec.model.unfreeze_epoch))
        stepped = head if spec.caches_features else model
    average = copy.deepcopy(stepped).requires_grad_(False) if spec.optimizer.ema else None
    scaler = torch.amp.GradScaler(device.type) if precision == torch.float16 else None
    window = torch.zeros(2, dtype=accumulator(device), device=device)
    optimizers = Optimizers(spec.optimizer, stepped, device)
    return Trainee(model, stepped, optimizers, average, scaler, window, spec.optimizer.ema, backbone)


def fresh_model(spec: TrainSpec, data: ResidentData, device: torch.device, *, initialized: bool) -> nn.Module:
    """Return the network initialized with the spec's seed, in channels_last memory on the device.

    `initialized` also loads the weights that the spec names, or computes `swift`'s stem from training images.
    """
    torch.manual_seed(spec.seed)
    size = spec.model.input_size or data.record.size
    model = build_model(spec.model, data.num_classes, size, pretrained=initialized).to(device)
    if initialized and isinstance(model, Swift):
        constants = constants_of(pixels_of(spec, data.record), device)
        first = data.train_rows[:WHITENING_IMAGES].to(data.train.images.device)
        parts = torch.split(first, whitening_batch(data.record.size))
        model.whiten(normalize(data.train.images[part].to(device), constants.mean, constants.std) for part in parts)
    return model.to(memory_format=torch.channels_last)


def start_from_weights(run_dir: Path, model: nn.Module) -> None:
    """Load the weights that a branched run starts with: its parent's checkpoint, copied into its run directory."""
    tensors = safetensors.torch.load_file(RunDir(run_dir).initial_weights)
    model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
