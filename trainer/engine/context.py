"""What stays the same while a run trains, under one name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from trainer.engine.resident import ResidentData
from trainer.rundir.events import EventWriter
from trainer.spec.train_spec import TrainSpec


@dataclass(frozen=True)
class Context:
    """Where a run is kept, what it is asked to do, its data, and how they are computed with.

    `constants` are the mean and deviation of each channel, float32 (3,), on `device`. `autocast` wraps every forward
    pass; it is one object, which may be entered again and again. `events` is where the run tells what happens.
    """

    run_dir: Path
    events: EventWriter
    spec: TrainSpec
    device: torch.device
    data: ResidentData
    constants: tuple[Tensor, Tensor]
    autocast: torch.autocast

    @property
    def full_size(self) -> int:
        """Pixels per side of the images that enter the network, where they are not smaller at first."""
        return self.spec.model.input_size or self.data.record.size
