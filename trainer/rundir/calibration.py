"""How a run's selected model is calibrated, stored when it has been tested. Free of torch."""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from trainer.rundir.folder import RunDir
from trainer.system.durable import write_durably

log = logging.getLogger(__name__)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Bin(_Part):
    """Images of about the same probability: its mean, and the share of them that is predicted right."""

    count: int
    confidence: float
    accuracy: float


class Reliability(_Part):
    """`ece`: the expected calibration error with its 95% interval, from 0 to 1. `overconfidence`: the mean probability
    of the predicted classes less the accuracy."""

    ece: float
    low: float
    high: float
    overconfidence: float
    bins: list[Bin]


class Calibration(_Part):
    """Of the checkpoint of `step`: `temperature` was fitted on `images` validation images; `before` and `after` are of
    the test images, as the model is and with its logits divided by the temperature."""

    step: int
    temperature: float
    images: int
    before: Reliability
    after: Reliability


def write_calibration(run_dir: Path, calibration: Calibration) -> None:
    """Raises OSError (a full disk)."""
    write_durably(RunDir(run_dir).calibration, calibration.model_dump_json().encode())


def read_calibration(run_dir: Path, step: int | None = None) -> Calibration | None:
    """The calibration of the checkpoint of `step`, or of any; None if there is none or its file is damaged."""
    path = RunDir(run_dir).calibration
    try:
        found = Calibration.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        log.warning("%s is damaged, and taken as absent: %s", path, error)
        return None
    return found if step is None or found.step == step else None
