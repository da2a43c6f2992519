"""What a run's model said of each image of its validation split, as the trainer kept it after each epoch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors.numpy


@dataclass(frozen=True)
class Answers:
    """One epoch's answers: `row` int32 (n,) of the training arrays, `guess` int16 (n,) a class, `own` and `top`
    float16 (n,), the probabilities of the image's own class and of the guess."""

    step: int
    row: npt.NDArray[np.int32]
    guess: npt.NDArray[np.int16]
    own: npt.NDArray[np.float16]
    top: npt.NDArray[np.float16]


def answered_steps(run_dir: Path) -> list[int]:
    """The steps after which the validation split was answered, in order."""
    return sorted(int(path.stem) for path in (run_dir / "artifacts" / "val").glob("*.safetensors"))


def read_answers(run_dir: Path, step: int) -> Answers:
    """Raises FileNotFoundError where nothing was kept at `step`."""
    tensors = safetensors.numpy.load((run_dir / "artifacts" / "val" / f"{step:08d}.safetensors").read_bytes())
    return Answers(step, tensors["row"], tensors["guess"], tensors["own"], tensors["top"])
