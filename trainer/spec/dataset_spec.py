"""The settings of a run that say which images it sees, and how they enter the network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trainer.spec.part import Part
from trainer.spec.timm_models import Interpolation, Triple


class PixelSpec(Part):
    """How images enter the network: each channel, from 0 to 1, less `mean` and divided by `std`; then resized."""

    mean: Triple
    std: Triple
    interpolation: Interpolation = "bilinear"


class DatasetSpec(Part):
    name: str = Field(description="The dataset to train on.", min_length=1, max_length=80)
    sha256: dict[str, str] = Field(
        default_factory=dict, description="Hash of each array, pinned when the run was queued."
    )
    split_seed: Annotated[int, Field(ge=0, lt=2**63)] | Literal["dataset", "run"] = Field(
        "run",
        description="What the held-out images are drawn with: the dataset's hash; the run's seed, as in runs queued by "
        "version 0.1.0 and before; or the seed of such a run, for a run that starts with its weights.",
    )
    pixels: PixelSpec | None = Field(
        None,
        description="Normalization and resizing of the network's published weights, pinned when the run was queued; "
        "null takes the dataset's mean and deviation.",
    )

    @property
    def has_validation(self) -> bool:
        """Whether the pinned dataset has a validation split of its own."""
        return any(name.startswith("val.") for name in self.sha256)
