"""Random resized crops for a batch: a part of random area and shape of each image, resized with antialiasing.

Boxes are drawn as torchvision's RandomResizedCrop draws them. A crop is resized at once from the stored pixels to the
size of the network's input.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

TRIES = 10
RATIO = (3 / 4, 4 / 3)  # of width to height


def draw_boxes(count: int, size: int, smallest: float, generator: torch.Generator) -> Tensor:
    """Draw a box per image, int64 (count, 4): top, left, height and width in an image of `size` × `size` pixels.

    Its area is at least the share `smallest` of the image's, up to rounding.
    """
    areas = size**2 * (smallest + (1 - smallest) * torch.rand((count, TRIES), generator=generator))
    low, high = map(math.log, RATIO)
    ratios = (low + (high - low) * torch.rand((count, TRIES), generator=generator)).exp()
    widths, heights = (areas * ratios).sqrt().round().long(), (areas / ratios).sqrt().round().long()
    fits = (widths > 0) & (widths <= size) & (heights > 0) & (heights <= size)
    first = fits.int().argmax(1, keepdim=True)
    found = fits.any(1)  # otherwise the whole image
    height = torch.where(found, heights.gather(1, first)[:, 0], size)
    width = torch.where(found, widths.gather(1, first)[:, 0], size)
    place = torch.rand((count, 2), generator=generator, dtype=torch.float64)
    top, left = (place[:, 0] * (size - height + 1)).long(), (place[:, 1] * (size - width + 1)).long()
    return torch.stack([top, left, height, width], dim=1)


def resized_crop(
    images: Tensor, rows: Tensor, boxes: Tensor, size: int, mirrored: Tensor | None, inverted: Tensor | None
) -> Tensor:
    """Return the `boxes` (int64 (B, 4)) of `rows` of `images` (uint8 N×H×W×3), resized: uint8 B×size×size×3.

    `mirrored` and `inverted`, bool (B,), say which are flipped left to right and top to bottom. A sample is bitwise the
    same in every batch.
    """
    if images.device.type == "cpu":
        return one_by_one(images, rows, boxes, size, mirrored, inverted)
    return at_once(images, rows, boxes, size, mirrored, inverted)


def one_by_one(
    images: Tensor, rows: Tensor, boxes: Tensor, size: int, mirrored: Tensor | None, inverted: Tensor | None
) -> Tensor:
    """On a CPU, torch's kernel for uint8 is several times faster than indexing. It rounds between the two directions,
    so its pixels may differ by 1 from those of a GPU."""
    made = torch.empty((len(rows), size, size, 3), dtype=torch.uint8)
    flips = [[] if flipped is None else flipped.tolist() for flipped in (inverted, mirrored)]
    for number, (row, (top, left, height, width)) in enumerate(zip(rows.tolist(), boxes.tolist(), strict=True)):
        part = images[row, top : top + height, left : left + width].permute(2, 0, 1)[None]
        resized = F.interpolate(part, (size, size), mode="bilinear", antialias=True)[0].permute(1, 2, 0)
        directions = [direction for direction, flipped in enumerate(flips) if flipped and flipped[number]]
        made[number] = resized.flip(directions) if directions else resized
    return made


def at_once(
    images: Tensor, rows: Tensor, boxes: Tensor, size: int, mirrored: Tensor | None, inverted: Tensor | None
) -> Tensor:
    """Each pixel is a sum of as many terms in the same order, so that it does not depend on the rest of the batch."""
    height, width = images.shape[1:3]
    ys, weights = _taps(boxes[:, 0], boxes[:, 2], size, height, inverted)
    lines = images.view(-1, width * 3)
    each = [lines.index_select(0, (rows[:, None] * height + at).flatten()).float() for at in ys.unbind(2)]
    levels = _weighted(each, [weight.reshape(-1, 1) for weight in weights.unbind(2)])

    xs, weights = _taps(boxes[:, 1], boxes[:, 3], size, width, mirrored)
    pixels, starts = levels.view(-1, 3), torch.arange(len(rows) * size, device=images.device).view(-1, size, 1) * width
    each = [
        pixels.index_select(0, (starts + at[:, None]).flatten()).view(len(rows), size, size * 3) for at in xs.unbind(2)
    ]
    # A weight for each channel: operations on whole lines are vectorized.
    levels = _weighted(each, [weight.repeat_interleave(3, 1)[:, None] for weight in weights.unbind(2)])
    return levels.round_().to(torch.uint8).view(len(rows), size, size, 3)


def _weighted(parts: list[Tensor], weights: list[Tensor]) -> Tensor:
    """The sum of `parts`, each times its weight; overwrites them."""
    result = parts[0].mul_(weights[0])
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        result += part.mul_(weight)
    return result


def _taps(start: Tensor, length: Tensor, size: int, stored: int, flipped: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the pixels that each of `size` output pixels is read from, and their weights: int64 and float32 B×size×k.

    The weights are those of torch's antialiased bilinear interpolation of `length` pixels (int64 (B,)) from `start` on.
    """
    scale = (length / size)[:, None]
    at = torch.arange(size, device=start.device).expand(len(start), size)
    if flipped is not None:
        at = torch.where(flipped[:, None], size - 1 - at, at)
    center = scale * (at + 0.5)
    support = scale.clamp(min=1)
    first = (center - support + 0.5).floor().clamp(min=0).long()
    taps = 2 if stored <= size else math.ceil(2 * stored / size) + 1
    each = first[..., None] + torch.arange(taps, device=start.device)
    inside = each < length[:, None, None]
    weights = (1 - ((each + 0.5 - center[..., None]) / support[..., None]).abs()).clamp(min=0) * inside
    total = weights[..., 0]
    for tap in range(1, taps):
        total = total + weights[..., tap]
    return start[:, None, None] + torch.minimum(each, length[:, None, None] - 1), weights / total[..., None]
