"""The settings of augmentation and progressive resizing."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainSerializer, model_validator
from pydantic_core import PydanticCustomError

from trainer.spec.part import FiniteFloat, Part, Share, impossible


def _share_or_pixels(value: float) -> float:
    """Pixels as an int."""
    if value < 1:
        return value
    if value < 8 or value != int(value):
        raise PydanticCustomError("resolution", "must be a share below 1, or whole pixels from 8 on")
    return int(value)


def _unchanged(value: float) -> float:
    return value


# Serialized as it is, so that pixels stay whole numbers.
Resolution = Annotated[
    float,
    Field(allow_inf_nan=False, gt=0, le=512),
    AfterValidator(_share_or_pixels),
    PlainSerializer(_unchanged, return_type=int | float),
]


class AugmentSpec(Part):
    crop: int = Field(
        0,
        ge=0,
        le=64,
        description="Pad by this many pixels, then crop at random; 4 is common at 32 px.",
    )
    padding: Literal["reflect", "zero"] = Field("reflect", description="What the crop shows beyond the image's edge.")
    flip: bool = Field(False, description="Mirror half of the images left to right.")
    alternating: bool = Field(
        False, description="Mirror each image in every other epoch, half of them first, rather than at random."
    )
    cutout: int = Field(0, ge=0, le=512, description="Side of a square blanked at random, in pixels; 0 blanks none.")
    mixup: FiniteFloat = Field(
        0.0, ge=0, le=10, description="Blend pairs of images and labels; the Beta distribution's alpha, 0.2 is common."
    )
    cutmix: FiniteFloat = Field(
        0.0, ge=0, le=10, description="Paste a box of another image, labels by area; the Beta distribution's alpha."
    )
    trivial: bool = Field(False, description="TrivialAugment: one random operation of random strength for each image.")
    resolutions: tuple[Resolution, ...] = Field(
        (),
        max_length=6,
        description="Progressive resizing: smaller sizes to train at first, as shares of the images' size, such as "
        "0.625, 0.75, or in pixels from 8 on.",
    )
    resolution_until: tuple[Share, ...] = Field(
        (), max_length=6, description="The share of the run at which each of these sizes ends, such as 0.2, 0.55."
    )

    @model_validator(mode="after")
    def parts_fit_together(self) -> AugmentSpec:
        if len(self.resolutions) != len(self.resolution_until):
            raise impossible(
                "each resolution needs the share at which it ends", "augment.resolutions", "augment.resolution_until"
            )
        if any(a >= b for a, b in pairwise(self.resolution_until)):
            raise impossible("the shares must rise", "augment.resolution_until")
        if self.alternating and not self.flip:
            raise impossible("alternating needs flip", "augment.alternating", "augment.flip")
        return self

    @property
    def changes_images(self) -> bool:
        return self != AugmentSpec()
