"""What rank 0 tells the other ranks of a run to do. Each is a JSON object whose "do" names its kind."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from trainer.plan.execution import Execution, Precision

Images = Literal["val", "clean", "test"]


@dataclass(frozen=True)
class Begin:
    """Load the weights and all other state, which follow, at `step`. `scaler` is the GradScaler's state."""

    step: int
    batch_size: int
    precision: Precision
    scaler: dict[str, float]


@dataclass(frozen=True)
class Execute:
    """Execute the network in another way from now on."""

    precision: Precision
    channels_last: bool
    threads: int

    @property
    def execution(self) -> Execution:
        return Execution(self.precision, self.channels_last, self.threads)


@dataclass(frozen=True)
class Step:
    """Train on this rank's part of a batch, `compiled` or in eager mode. `searches`: cuDNN tries its kernels."""

    step: int
    epoch: int
    position: int
    size: int
    rate: float
    searches: bool
    compiled: bool


@dataclass(frozen=True)
class Evaluation:
    """Evaluate this rank's part of some images; "clean" are the training images that are evaluated."""

    images: Images
    flip: bool = False
    scored: bool = True


@dataclass(frozen=True)
class Weights:
    """Take the weights that follow into the network that is evaluated."""


@dataclass(frozen=True)
class RandomStates:
    """Give the state of the random generators, for a checkpoint."""


@dataclass(frozen=True)
class Finish:
    """End: the run has ended, or an error on rank 0 ends it."""


Instruction = Begin | Execute | Step | Evaluation | Weights | RandomStates | Finish
KINDS: dict[str, type[Instruction]] = {
    kind.__name__: kind for kind in (Begin, Execute, Step, Evaluation, Weights, RandomStates, Finish)
}


def as_message(instruction: Instruction) -> dict[str, Any]:
    return {"do": type(instruction).__name__, **asdict(instruction)}


def of_message(message: dict[str, Any]) -> Instruction:
    return KINDS[message.pop("do")](**message)
