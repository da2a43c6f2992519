"""The settings of augmentation and progressive resizing."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainSerializer, model_validator
from pydantic_core import PydanticCustomError

from trainer.spec.part import FiniteFloat, Part, Share, impossible

STRONGEST = 30  # RandAugment's greatest magnitude; TrivialAugment draws from 0 to this one


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
    resized_crop: FiniteFloat = Field(
        0.0,
        ge=0,
        lt=1,
        description="Crop a part of random size and shape and resize it: the smallest part as a share of the area, "
        "0.08 for photos and 0.5 for small images; 0 crops none. Not where size or position tells the class.",
    )
    flip: bool = Field(False, description="Mirror half of the images left to right.")
    alternating: bool = Field(
        False, description="Mirror each image in every other epoch, half of them first, rather than at random."
    )
    vertical_flip: bool = Field(
        False,
        description="Mirror half of the images top to bottom: for images without an up and a down, as from a "
        "microscope or a satellite; not for digits, letters or everyday photos.",
    )
    rotation: FiniteFloat = Field(
        0.0,
        ge=0,
        le=180,
        description="Rotate by up to this many degrees either way; 10 is common, 180 for images without an up and a "
        "down. Not where the angle tells the class, as of 6 and 9.",
    )
    brightness: FiniteFloat = Field(
        0.0,
        ge=0,
        le=1,
        description="Change brightness by up to this share; 0.2 to 0.4 is common, for light that varies. Not where "
        "brightness tells the class, as in X-rays.",
    )
    contrast: FiniteFloat = Field(
        0.0,
        ge=0,
        le=1,
        description="Change contrast by up to this share; 0.2 to 0.4 is common, for cameras and weather that vary.",
    )
    saturation: FiniteFloat = Field(
        0.0,
        ge=0,
        le=1,
        description="Change the strength of colors by up to this share; 0.2 to 0.4 is common. Nothing for gray images.",
    )
    hue: FiniteFloat = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Shift colors by up to this share of the color circle; 0.05 to 0.1 is common. Not where color "
        "tells the class, as of fruit, flowers or birds.",
    )
    blur: Share = Field(
        0.0,
        description="Blur this share of the images; 0.1 to 0.5 is common from 64 px on, for images that may be out of "
        "focus. Not where fine detail tells the class, nor for small images.",
    )
    cutout: int = Field(0, ge=0, le=512, description="Side of a square blanked at random, in pixels; 0 blanks none.")
    mixup: FiniteFloat = Field(
        0.0, ge=0, le=10, description="Blend pairs of images and labels; the Beta distribution's alpha, 0.2 is common."
    )
    cutmix: FiniteFloat = Field(
        0.0, ge=0, le=10, description="Paste a box of another image, labels by area; the Beta distribution's alpha."
    )
    trivial: bool = Field(False, description="TrivialAugment: one random operation of random strength for each image.")
    randaugment: int = Field(
        0,
        ge=0,
        le=4,
        description="RandAugment: this many random operations for each image, all of one strength; 2 is common. Not "
        "where angle, position or color tells the class. TrivialAugment is the one without a strength to choose.",
    )
    randaugment_magnitude: int = Field(
        9,
        ge=0,
        le=STRONGEST,
        description=f"The strength of RandAugment's operations, to {STRONGEST}; 9 is common, more for large networks.",
    )
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
        if self.crop and self.resized_crop:
            raise impossible("choose one of the two crops", "augment.crop", "augment.resized_crop")
        if self.trivial and self.randaugment:
            raise impossible("choose one of TrivialAugment and RandAugment", "augment.trivial", "augment.randaugment")
        return self

    def placed_size(self, stored: int, network: int) -> int:
        """Side in pixels of an augmented image: a resized crop has the size of the network's input at once."""
        return network if self.resized_crop else stored

    @property
    def jitters(self) -> bool:
        return bool(self.brightness or self.contrast or self.saturation or self.hue)

    @property
    def changes_images(self) -> bool:
        return self != AugmentSpec()
