"""Network inputs: normalized float images of the network's size."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.spec.dataset_spec import PixelSpec


class Constants(NamedTuple):
    """Mean and standard deviation of each channel, float32 (3,), and how images are resized."""

    mean: Tensor
    std: Tensor
    interpolation: str = "bilinear"


def network_input(images: Tensor, constants: Constants, size: int) -> Tensor:
    """Convert uint8 B×H×W×3 to float32 B×3×size×size. Cached features (float B×F) are returned unchanged."""
    if images.dtype != torch.uint8:
        return images
    return resize(normalize(images, constants.mean, constants.std), size, constants.interpolation)


class Inputs:
    """`network_input` for images of one width: constants are made once, and the result is no second copy."""

    def __init__(self, constants: Constants, width: int) -> None:
        self._scale, self._offset = row_constants(constants.mean, constants.std, width)
        self._interpolation = constants.interpolation

    def __call__(self, images: Tensor, size: int) -> Tensor:
        if images.dtype != torch.uint8:
            return images
        rows = rows_of(images)
        torch.addcmul(self._offset, rows, self._scale, out=rows)
        return resize(images_of(rows, images.shape), size, self._interpolation)


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Convert uint8 N×H×W×3 to float32 N×3×H×W in channels_last memory, each channel as (x/255 − mean)/std."""
    scale, offset = row_constants(mean, std, images.shape[2])
    return images_of(torch.addcmul(offset, rows_of(images), scale), images.shape)


def row_constants(mean: Tensor, std: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Return the scale and the offset of each value of a row of pixels, float32 (3 · width,)."""
    return (1 / (255 * std)).repeat(width), (-mean / std).repeat(width)


def rows_of(images: Tensor) -> Tensor:
    """Convert uint8 N×H×W×3 to float32 (N · H)×(W · 3).

    An operation on the three channels is not vectorized and takes twice as long as one on whole rows.
    """
    count, height, width, channels = images.shape
    return images.reshape(count * height, width * channels).float()


def images_of(rows: Tensor, shape: torch.Size) -> Tensor:
    """View what `rows_of` returned for images of `shape` as N×3×H×W."""
    return rows.view(shape).permute(0, 3, 1, 2)


def constants_of(pixels: PixelSpec, device: torch.device) -> Constants:
    """The constants on `device`. The deviation is at least 1/255, so that a constant channel is not divided by zero."""
    deviation = torch.tensor(pixels.std, dtype=torch.float32, device=device).clamp_(min=1 / 255)
    return Constants(torch.tensor(pixels.mean, dtype=torch.float32, device=device), deviation, pixels.interpolation)


def resize(images: Tensor, size: int, interpolation: str = "bilinear") -> Tensor:
    """Resize `images` (float B×3×H×W) to `size` × `size` pixels with antialiasing. Keeps the memory format."""
    if images.shape[2:] == (size, size):
        return images
    channels_last = images.is_contiguous(memory_format=torch.channels_last)
    resized = F.interpolate(images, (size, size), mode=interpolation, align_corners=False, antialias=True)
    return resized.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
