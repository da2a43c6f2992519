"""Color jitter of a batch: random changes of brightness, contrast, saturation and hue, in this order."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.spec.augment_spec import AugmentSpec

GRAY = (0.2989, 0.587, 0.114)


def draw_jitter(spec: AugmentSpec, count: int, generator: torch.Generator) -> Tensor:
    """Draw per image the factors of brightness, contrast and saturation, and the shift of hue, float32 (count, 4)."""
    widths = torch.tensor([spec.brightness, spec.contrast, spec.saturation, spec.hue])
    drawn = (2 * torch.rand((count, 4), generator=generator) - 1) * widths
    return drawn + torch.tensor([1.0, 1.0, 1.0, 0.0])


def jitter(spec: AugmentSpec, images: Tensor, draws: Tensor) -> Tensor:
    """Change the colors of `images` (uint8 B×H×W×3) by `draws` (float32 (B, 4)). Levels are rounded once, at last."""
    brightness, contrast, saturation, hue = (value[:, None, None] for value in draws.unbind(1))
    channels = [channel.float() for channel in images.unbind(-1)]  # each B×H×W
    if spec.brightness:
        channels = [(channel * brightness).clamp_(max=255) for channel in channels]
    if spec.contrast:
        channels = _blended(channels, _mean(_gray(channels)), contrast)
    if spec.saturation:
        channels = _blended(channels, _gray(channels), saturation)
    if spec.hue:
        channels = _shifted(channels, hue)
    return torch.stack([channel.round_().to(torch.uint8) for channel in channels], dim=-1)


def _gray(channels: list[Tensor]) -> Tensor:
    red, green, blue = (channel * share for channel, share in zip(channels, GRAY, strict=True))
    return red + green + blue


def _mean(gray: Tensor) -> Tensor:
    """The mean of each image, B×1×1. Summed as integers of 1/256, so that the order of summation does not matter."""
    return ((gray * 256).int().sum((1, 2)) / (256 * gray[0].numel()))[:, None, None].float()


def _blended(channels: list[Tensor], other: Tensor, factor: Tensor) -> list[Tensor]:
    added = other * (1 - factor)
    return [(channel * factor + added).clamp_(0, 255) for channel in channels]


def _shifted(channels: list[Tensor], hue: Tensor) -> list[Tensor]:
    """Shift the hue by a share of the color circle, and keep HSV's saturation and value."""
    red, green, blue = channels
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    divisor = torch.where(chroma == 0, 1.0, chroma)
    of_red, of_green, of_blue = (green - blue) / divisor, 2 + (blue - red) / divisor, 4 + (red - green) / divisor
    sextant = torch.where(value == red, of_red, torch.where(value == green, of_green, of_blue)) + 6 * hue
    shifted = []
    for offset in (5, 3, 1):  # https://en.wikipedia.org/wiki/HSL_and_HSV#HSV_to_RGB_alternative
        around = (sextant + offset) % 6
        shifted.append(value - chroma * torch.minimum(around, 4 - around).clamp_(0, 1))
    return shifted
