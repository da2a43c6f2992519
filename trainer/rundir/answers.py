"""The predictions of a run's model for its validation split, stored after each evaluation. Free of torch."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from trainer.rundir.folder import RunDir
from trainer.system.durable import write_durably

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answers:
    """The predictions after `step`: `row` int32 (n,), indices into the arrays of the
    validation split (DatasetRecord.validation_split); `guess` int16 (n,), the
    predicted class; `own` and `top` float16 (n,), the probabilities of the true and of the predicted class."""

    step: int
    row: npt.NDArray[np.int32]
    guess: npt.NDArray[np.int16]
    own: npt.NDArray[np.float16]
    top: npt.NDArray[np.float16]


def write_answers(run_dir: Path, answers: Answers) -> None:
    """Write the predictions; they are durable when this returns. Raises OSError (a full disk)."""
    path = RunDir(run_dir).answers(answers.step)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_answers_file(path, answers)


def write_answers_file(path: Path, answers: Answers) -> None:
    """Write predictions, of whatever images, to a file. Raises OSError (a full disk)."""
    tensors: dict[str, npt.NDArray[Any]] = {
        "row": answers.row,
        "guess": answers.guess,
        "own": answers.own,
        "top": answers.top,
    }
    write_durably(path, safetensors.numpy.save(tensors))


def answered_steps(run_dir: Path) -> list[int]:
    """Return the steps at which predictions were stored, in order."""
    files = RunDir(run_dir).answers_folder.glob("*.safetensors")
    return sorted(int(path.stem) for path in files if path.stem.isdigit())


def read_answers(run_dir: Path, step: int) -> Answers | None:
    """Return the predictions after `step`, or None if there is no file, or an empty or damaged one, which is logged.

    Up to version 0.1.0 the file was not synced: a power failure may have left an empty one.
    """
    return read_answers_file(RunDir(run_dir).answers(step), step)


def read_answers_file(path: Path, step: int) -> Answers | None:
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


@dataclass(frozen=True)
class Table:
    """The probabilities of all classes by the selected model, of `step`: float16 (n, C), for `row` int32 (n,)."""

    step: int
    row: npt.NDArray[np.int32]
    probabilities: npt.NDArray[np.float16]


def write_table(run_dir: Path, table: Table) -> None:
    """Raises OSError (a full disk)."""
    path = RunDir(run_dir).selected
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, npt.NDArray[Any]] = {"row": table.row, "probabilities": table.probabilities}
    write_durably(path, safetensors.numpy.save(tensors, {"step": str(table.step)}))


def read_table(run_dir: Path) -> Table | None:
    """None if there is no table, or its file is damaged, which is logged."""
    path = RunDir(run_dir).selected
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            found = Table(
                int((file.metadata() or {})["step"]), file.get_tensor("row"), file.get_tensor("probabilities")
            )
        if found.row.shape != found.probabilities.shape[:1]:
            raise ValueError("the arrays differ in length")
    except FileNotFoundError:
        return None
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        log.warning("%s is damaged, and taken as absent: %s", path, error)
        return None
    return found


def last_answers(run_dir: Path) -> Answers | None:
    """Return the latest predictions that can be read, or None."""
    stored = (read_answers(run_dir, step) for step in reversed(answered_steps(run_dir)))
    return next((answers for answers in stored if answers is not None), None)
