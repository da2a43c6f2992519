"""The objects that stay constant while a run trains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from trainer.engine.portions import Portions
from trainer.engine.ranks import ALONE, Ranks
from trainer.engine.resident import ResidentData
from trainer.engine.runtime import Runtime
from trainer.models.inputs import Constants
from trainer.rundir.events import EventWriter
from trainer.spec.train_spec import TrainSpec


@dataclass(frozen=True)
class Context:
    """A run's directory, events, spec, device and data, and the constants of its forward passes.

    `constants` normalize and resize images, on `device`. `runtime` is how the network is
    executed, the only part that changes during a run. `portions` are the images of a pass in evaluation. `events`
    writes the event file of the attempt. `ranks` are the processes that train the run together.
    """

    run_dir: Path
    events: EventWriter
    spec: TrainSpec
    device: torch.device
    data: ResidentData
    constants: Constants
    runtime: Runtime
    portions: Portions
    ranks: Ranks = ALONE

    @property
    def autocast(self) -> torch.autocast:
        """Wraps every forward pass."""
        return self.runtime.autocast

    @property
    def full_size(self) -> int:
        """Side in pixels of the network's input, after any smaller resolutions at the start."""
        return self.spec.model.input_size or self.data.record.size
