"""The probability below which a model's predictions are "not sure", as people have set it. Free of torch."""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trainer.rundir.folder import RunDir
from trainer.system.durable import write_durably

log = logging.getLogger(__name__)


class Threshold(BaseModel):
    """`threshold` is compared with the calibrated probability of the likeliest class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float | None = Field(
        ge=0, le=1, description="Predictions below this probability are unsure; null to take all as they are."
    )


def write_threshold(run_dir: Path, threshold: Threshold) -> None:
    """Raises OSError (a full disk)."""
    RunDir(run_dir).artifacts.mkdir(exist_ok=True)
    write_durably(RunDir(run_dir).threshold, threshold.model_dump_json().encode())


def read_threshold(run_dir: Path) -> float | None:
    """None if none is set, or its file is damaged."""
    path = RunDir(run_dir).threshold
    try:
        return Threshold.model_validate_json(path.read_bytes()).threshold
    except FileNotFoundError:
        return None
    except ValidationError as error:
        log.warning("%s is damaged, and taken as absent: %s", path, error)
        return None
