"""What a run's model answered for each image of its validation split, kept after each evaluation. Free of torch."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from trainer.rundir.folder import RunDir
from trainer.system.durable import write_durably

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answers:
    """The answers after `step`: `row` int32 (n,) of the training arrays, `guess` int16 (n,) a class, `own` and `top`
    float16 (n,), the probabilities of the image's own class and of the guess."""

    step: int
    row: npt.NDArray[np.int32]
    guess: npt.NDArray[np.int16]
    own: npt.NDArray[np.float16]
    top: npt.NDArray[np.float16]


def write_answers(run_dir: Path, answers: Answers) -> None:
    """Durable before this returns. Raises OSError (a full disk)."""
    path = RunDir(run_dir).answers(answers.step)
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, npt.NDArray[Any]] = {
        "row": answers.row,
        "guess": answers.guess,
        "own": answers.own,
        "top": answers.top,
    }
    write_durably(path, safetensors.numpy.save(tensors))


def answered_steps(run_dir: Path) -> list[int]:
    """The steps after which the validation split was answered, in order."""
    files = RunDir(run_dir).answers_folder.glob("*.safetensors")
    return sorted(int(path.stem) for path in files if path.stem.isdigit())


def read_answers(run_dir: Path, step: int) -> Answers | None:
    """None where nothing was kept at `step`, or where the file is empty or damaged, which is logged.

    Up to version 0.1.0 the file was not synced: a power cut may have left an empty one.
    """
    path = RunDir(run_dir).answers(step)
    try:
        tensors = safetensors.numpy.load(path.read_bytes())
        answers = Answers(step, tensors["row"], tensors["guess"], tensors["own"], tensors["top"])
        if len({answers.row.shape, answers.guess.shape, answers.own.shape, answers.top.shape}) > 1:
            raise ValueError("the arrays differ in length")
    except FileNotFoundError:
        return None
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        log.warning("%s is damaged, and taken as absent: %s", path, error)
        return None
    return answers


def last_answers(run_dir: Path) -> Answers | None:
    """The newest answers that can be read."""
    kept = (read_answers(run_dir, step) for step in reversed(answered_steps(run_dir)))
    return next((answers for answers in kept if answers is not None), None)
