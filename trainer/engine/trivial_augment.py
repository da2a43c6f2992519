"""TrivialAugment (Müller & Hutter 2021) and RandAugment (Cubuk et al. 2020) for a batch of images.

TrivialAugment applies one operation of random strength per image, RandAugment several of one strength. The pixels equal
those of torchvision's TrivialAugmentWide and RandAugment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from trainer.engine.pixels import read_pixels
from trainer.spec.augment_spec import STRONGEST

BINS = STRONGEST + 1


class Op(IntEnum):
    IDENTITY = 0
    SHEAR_X = 1
    SHEAR_Y = 2
    TRANSLATE_X = 3
    TRANSLATE_Y = 4
    ROTATE = 5
    BRIGHTNESS = 6
    COLOR = 7
    CONTRAST = 8
    SHARPNESS = 9
    POSTERIZE = 10
    SOLARIZE = 11
    AUTOCONTRAST = 12
    EQUALIZE = 13


MOVING = frozenset(range(Op.SHEAR_X, Op.ROTATE + 1))


@dataclass(frozen=True)
class Ranges:
    """The strongest operations. `factor` is that of the color operations, without the 1 of an unchanged image.

    `pixels` are of a translation, or as a share of the image's width if `relative`; `bits` are dropped of 8.
    """

    shear: float
    pixels: float
    degrees: float
    factor: float
    bits: int
    relative: bool = False


WIDE = Ranges(shear=0.99, pixels=32.0, degrees=135.0, factor=0.99, bits=6)  # TrivialAugment's
RANDAUGMENT = Ranges(shear=0.3, pixels=150 / 331, degrees=30.0, factor=0.9, bits=4, relative=True)


def draw_trivial(count: int, generator: torch.Generator) -> Tensor:
    """Draw an operation per image, int64 (count, 3): the `Op`, its magnitude's bin, and its magnitude's sign, ±1."""
    ops = torch.randint(len(Op), (count,), generator=generator)
    bins = torch.randint(BINS, (count,), generator=generator)
    signs = torch.randint(2, (count,), generator=generator) * 2 - 1
    return torch.stack([ops, bins, signs], dim=1)


def draw_randaugment(count: int, number: int, magnitude: int, generator: torch.Generator) -> Tensor:
    """Draw `number` operations per image, int64 (count, number, 3), each as `draw_trivial` does."""
    ops = torch.randint(len(Op), (count, number), generator=generator)
    signs = torch.randint(2, (count, number), generator=generator) * 2 - 1
    return torch.stack([ops, torch.full_like(ops, magnitude), signs], dim=2)


def trivial_augment(
    images: Tensor, draws: Tensor, fill: Tensor, drawn: Tensor | None = None, ranges: Ranges = WIDE
) -> Tensor:
    """Apply `draws` (int64 (B, 3), one operation per image) to `images` (uint8 B×H×W×3).

    `fill` uint8 (3,) is the color of pixels that come from outside the image. `drawn` are the same draws on the CPU:
    without them, this waits for the device, since the sizes of the groups depend on the draws.
    """
    ops, bins, signs = draws.unbind(1)
    known = (draws if drawn is None else drawn)[:, 0].cpu()
    by_op = known.argsort(stable=True).to(images.device, non_blocking=True)
    groups = torch.split(by_op, torch.bincount(known, minlength=len(Op)).tolist())
    result = images.clone(memory_format=torch.contiguous_format)
    moved = torch.cat(groups[Op.SHEAR_X : Op.ROTATE + 1])
    if len(moved):
        result[moved] = _move(images.contiguous(), moved, ops[moved], bins[moved], signs[moved], fill, ranges)
    for op, apply in COLOR_OPERATIONS.items():
        group = groups[op]
        if len(group):
            result[group] = apply(images[group], bins[group], signs[group], ranges)
    return result


def _move(
    images: Tensor, group: Tensor, ops: Tensor, bins: Tensor, signs: Tensor, fill: Tensor, ranges: Ranges
) -> Tensor:
    """Apply one affine map per image to the images of `group`, with nearest-neighbor interpolation."""
    height, width = images.shape[1:3]
    shear = _magnitudes(0.0, ranges.shear, bins) * signs
    shear_x, shear_y = shear * (ops == Op.SHEAR_X), shear * (ops == Op.SHEAR_Y)
    farthest = ranges.pixels * (width if ranges.relative else 1)
    pixels = _magnitudes(0.0, farthest, bins).trunc() * signs
    # Computed for all bins and then indexed: a sample's angle is bitwise the same in every batch.
    angles = torch.linspace(0.0, ranges.degrees, BINS, device=bins.device).deg2rad()
    sin = angles.sin()[bins] * signs * (ops == Op.ROTATE)
    cos = torch.where(ops == Op.ROTATE, angles.cos()[bins], 1.0)

    # Rotation is around the center; shear keeps the top and left edges in place.
    ys = torch.arange(height, device=images.device)[:, None] - (height - 1) / 2
    xs = torch.arange(width, device=images.device) - (width - 1) / 2
    from_x = shear_x * (height / 2) - pixels * (ops == Op.TRANSLATE_X) + (width - 1) / 2
    from_y = shear_y * (width / 2) - pixels * (ops == Op.TRANSLATE_Y) + (height - 1) / 2
    source_x = _per_image(cos) * xs + _per_image(shear_x - sin) * ys + _per_image(from_x)
    source_y = _per_image(shear_y + sin) * xs + _per_image(cos) * ys + _per_image(from_y)

    columns, rows = source_x.round().long(), source_y.round().long()
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    read = read_pixels(images, group, rows.clamp(0, height - 1), columns.clamp(0, width - 1))
    return torch.where(inside[..., None], read, fill)


def _magnitudes(first: float, last: float, bins: Tensor) -> Tensor:
    """Magnitudes of `bins`, float32 (b,), evenly spaced from `first` to `last`."""
    return torch.linspace(first, last, BINS, device=bins.device)[bins]


def _per_image(values: Tensor, dims: int = 2) -> Tensor:
    """Reshape `values` (b,) so that they broadcast over each image."""
    return values.view(-1, *[1] * dims)


def _factor(bins: Tensor, signs: Tensor, ranges: Ranges) -> Tensor:
    return _per_image(1.0 + _magnitudes(0.0, ranges.factor, bins) * signs, 3)


def _blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return (images * factor + other * (1.0 - factor)).clamp_(0, 255).to(torch.uint8)


def _grayscale(images: Tensor) -> Tensor:
    """Luminance rounded down to integers, float32 b×H×W×1."""
    red, green, blue = images.unbind(-1)
    return (red * 0.2989 + green * 0.587 + blue * 0.114).floor_()[..., None]


def _brightness(images: Tensor, bins: Tensor, signs: Tensor, ranges: Ranges) -> Tensor:
    return (images * _factor(bins, signs, ranges)).clamp_(0, 255).to(torch.uint8)


def _color(images: Tensor, bins: Tensor, signs: Tensor, ranges: Ranges) -> Tensor:
    return _blend(images, _grayscale(images), _factor(bins, signs, ranges))


def _contrast(images: Tensor, bins: Tensor, signs: Tensor, ranges: Ranges) -> Tensor:
    # Summed as integers, so that the order of summation does not matter.
    mean = _grayscale(images).int().sum((1, 2, 3)) / images[0, ..., 0].numel()
    return _blend(images, _per_image(mean, 3), _factor(bins, signs, ranges))


def _sharpness(images: Tensor, bins: Tensor, signs: Tensor, ranges: Ranges) -> Tensor:
    """Blend with a 3×3 blur of weights 5/13 at the center and 1/13 around; the border stays unblurred, as in Pillow."""
    if min(images.shape[1:3]) <= 2:
        return images
    levels = images.float()
    rows = levels[:, :-2] + levels[:, 1:-1] + levels[:, 2:]
    around = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    blurred = levels.clone()
    blurred[:, 1:-1, 1:-1] = ((around + 4 * levels[:, 1:-1, 1:-1]) / 13).round_()
    # Not `_blend`: where both are equal, as at the border, the level must stay exactly the same.
    return (levels + (blurred - levels) * (1.0 - _factor(bins, signs, ranges))).clamp_(0, 255).to(torch.uint8)


def _posterize(images: Tensor, bins: Tensor, signs: Tensor, ranges: Ranges) -> Tensor:
    dropped = (bins / ((BINS - 1) / ranges.bits)).round().int()  # bits, of 8
    return images & _per_image((255 << dropped).bitwise_and(255).to(torch.uint8), 3)


def _solarize(images: Tensor, bins: Tensor, signs: Tensor, ranges: Ranges) -> Tensor:
    threshold = _per_image(_magnitudes(1.0, 0.0, bins) * 255, 3)
    return torch.where(images >= threshold, 255 - images, images)


def _autocontrast(images: Tensor, bins: Tensor, signs: Tensor, ranges: Ranges) -> Tensor:
    low, high = images.amin((1, 2), keepdim=True).float(), images.amax((1, 2), keepdim=True).float()
    flat = low == high
    scale = torch.where(flat, 1.0, (high - low) * (1 / 255))
    return ((images - torch.where(flat, 0.0, low)) / scale).clamp_(0, 255).to(torch.uint8)


def _equalize(images: Tensor, bins: Tensor, signs: Tensor, ranges: Ranges) -> Tensor:
    """Equalize the histogram of each channel, with Pillow's integer arithmetic."""
    levels = images.permute(0, 3, 1, 2).flatten(2).long()
    histogram = levels.new_zeros(*levels.shape[:2], 256).scatter_add_(2, levels, torch.ones_like(levels))
    highest = histogram.gather(2, levels.amax(2, keepdim=True))
    step = (levels.shape[2] - highest) // 255
    below = histogram.cumsum(2) - histogram
    table = ((below + step // 2) // step.clamp(min=1)).clamp_(0, 255)
    mapped = torch.where(step > 0, table.gather(2, levels), levels).to(torch.uint8)
    return mapped.view(-1, 3, *images.shape[1:3]).permute(0, 2, 3, 1)


COLOR_OPERATIONS: dict[Op, Callable[[Tensor, Tensor, Tensor, Ranges], Tensor]] = {
    Op.BRIGHTNESS: _brightness,
    Op.COLOR: _color,
    Op.CONTRAST: _contrast,
    Op.SHARPNESS: _sharpness,
    Op.POSTERIZE: _posterize,
    Op.SOLARIZE: _solarize,
    Op.AUTOCONTRAST: _autocontrast,
    Op.EQUALIZE: _equalize,
}
