"""The accuracy of an ensemble on the images that all of its members held out. Free of torch."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class EnsembleReport(BaseModel):
    model_config = ConfigDict(frozen=True)

    images: int
    accuracy: float
    members: list[float] = Field(description="Each member's accuracy on the same images, in their order.")


def read_report(path: Path) -> EnsembleReport | None:
    """Read a report; None if it is missing or invalid."""
    try:
        return EnsembleReport.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
