"""The evaluation of a model on a labeled dataset, as the files of its task hold it. Free of torch."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trainer.data.format import Split
from trainer.rundir.calibration import Reliability


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class OwnTest(_Part):
    """The model's accuracy on the test split of its own dataset, and how the two differ."""

    dataset: str
    accuracy: float
    images: int
    z: float = Field(description="How many standard errors the accuracy here is below it; negative if it is above.")


class Evaluation(_Part):
    """`classes` are the model's, which the predictions of the task's answers refer to. `figures` are from 0 to 1,
    except for losses."""

    model: str
    run: str
    dataset: str
    split: Split
    images: int
    classes: list[str]
    figures: dict[str, float]
    reliability: Reliability | None = Field(None, description="Of the probabilities as predictions give them.")
    calibrated: bool = False
    own_test: OwnTest | None = None


def read_evaluation(path: Path) -> Evaluation | None:
    """Read an evaluation; None if it is missing or invalid."""
    try:
        return Evaluation.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
