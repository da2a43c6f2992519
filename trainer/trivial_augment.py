"""TrivialAugment (Müller & Hutter, 2021): one random operation of random strength for each image, batched.

Operations, ranges and rounding are those of torchvision.transforms.TrivialAugmentWide, which draws once for a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

BINS = 31
SHEAR, TRANSLATE, ROTATE, ENHANCE = 0.99, 32.0, 135.0, 0.99
GREY = (0.2989, 0.587, 0.114)

OPERATIONS = (
    "identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "color", "contrast",
    "sharpness", "posterize", "solarize", "autocontrast", "equalize",
)  # fmt: skip
GEOMETRIC = frozenset({"shear_x", "shear_y", "translate_x", "translate_y", "rotate"})


def draw_trivial(count: int, generator: torch.Generator) -> Tensor:
    """int64 (count, 3): operation, bin of its strength, and whether its sign is turned."""
    bounds = (len(OPERATIONS), BINS, 2)
    return torch.stack([torch.randint(bound, (count,), generator=generator) for bound in bounds], 1)


def trivial_augment(images: Tensor, draws: Tensor, fill: Tensor) -> Tensor:
    """uint8 B×H×W×3 after each image's operation of `draws` (B, 3); `fill` uint8 (3,) shows beyond the edges."""
    result = images.clone()
    strength = draws[:, 1] / (BINS - 1) * (1 - 2 * draws[:, 2])
    geometric = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    for number, name in enumerate(OPERATIONS):
        rows = (draws[:, 0] == number).nonzero().squeeze(1)
        if name in GEOMETRIC:
            geometric[rows] = True
        elif name in COLOURS and len(rows):
            result[rows] = COLOURS[name](images[rows], strength[rows])
    rows = geometric.nonzero().squeeze(1)
    if len(rows):
        result[rows] = _affine(images[rows], draws[rows, 0], strength[rows], fill)
    return result


def _affine(images: Tensor, kinds: Tensor, strength: Tensor, fill: Tensor) -> Tensor:
    """Nearest neighbours through each image's inverse matrix about its centre."""
    matrix = torch.zeros(len(images), 2, 3, device=images.device)
    matrix[:, 0, 0] = matrix[:, 1, 1] = 1
    for name, row, column, value in (
        ("shear_x", 0, 1, strength * SHEAR),
        ("shear_y", 1, 0, strength * SHEAR),
        ("translate_x", 0, 2, -(strength * TRANSLATE).trunc()),
        ("translate_y", 1, 2, -(strength * TRANSLATE).trunc()),
    ):
        chosen = kinds == OPERATIONS.index(name)
        matrix[chosen, row, column] = value[chosen]
    turned = kinds == OPERATIONS.index("rotate")
    angle = strength[turned] * ROTATE * math.pi / 180
    matrix[turned, 0, 0] = matrix[turned, 1, 1] = angle.cos()
    matrix[turned, 0, 1], matrix[turned, 1, 0] = -angle.sin(), angle.sin()
    height, width = images.shape[1:3]
    centre = torch.tensor([width / 2, height / 2], device=images.device)
    # A shear is about the top left corner in torchvision, everything else about the centre.
    shears = (kinds == OPERATIONS.index("shear_x")) | (kinds == OPERATIONS.index("shear_y"))
    origin = torch.where(shears[:, None], torch.zeros_like(centre), centre)
    ys, xs = torch.meshgrid(
        *(torch.arange(side, device=images.device) + 0.5 for side in (height, width)), indexing="ij"
    )
    points = torch.stack([xs, ys], -1) - origin[:, None, None]
    moved = torch.einsum("bij,bhwj->bhwi", matrix[:, :, :2], points) + matrix[:, None, None, :, 2]
    index = (moved + origin[:, None, None] - 0.5).round().long()
    x, y = index.unbind(-1)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    taken = images[batch, y.clamp(0, height - 1), x.clamp(0, width - 1)]
    return torch.where(inside[..., None], taken, fill)


def _blend(images: Tensor, other: Tensor, strength: Tensor) -> Tensor:
    ratio = (1 + strength * ENHANCE)[:, None, None, None]
    return (ratio * images + (1 - ratio) * other).clamp(0, 255).to(torch.uint8)


def _grey(images: Tensor) -> Tensor:
    return (images.float() @ torch.tensor(GREY, device=images.device)).floor()[..., None]


def _sharpness(images: Tensor, strength: Tensor) -> Tensor:
    """The inner pixels blurred 3×3 with a heavy middle, the border as it is."""
    kernel = torch.ones(3, 1, 3, 3, device=images.device)
    kernel[:, :, 1, 1] = 5
    blurred = images.float()
    inner = F.conv2d(blurred.permute(0, 3, 1, 2), kernel / 13, groups=3).permute(0, 2, 3, 1)
    blurred[:, 1:-1, 1:-1] = inner.round()
    return _blend(images, blurred, strength)


def _posterize(images: Tensor, strength: Tensor) -> Tensor:
    bits = 8 - (strength.abs() * 6).round().to(torch.uint8)
    mask = (255 << (8 - bits.int())).to(torch.uint8)
    return images & mask[:, None, None, None]


def _solarize(images: Tensor, strength: Tensor) -> Tensor:
    threshold = 255 * (1 - strength.abs())
    return torch.where(images >= threshold[:, None, None, None], 255 - images, images)


def _autocontrast(images: Tensor, _strength: Tensor) -> Tensor:
    low, high = (value.float() for value in (images.amin((1, 2), keepdim=True), images.amax((1, 2), keepdim=True)))
    scale = torch.where(high > low, 255 / (high - low).clamp(min=1), torch.ones_like(low))
    stretched = (images - torch.where(high > low, low, torch.zeros_like(low))) * scale
    return stretched.clamp(0, 255).to(torch.uint8)


def _equalize(images: Tensor, _strength: Tensor) -> Tensor:
    """Every channel's histogram made flat, as PIL does it."""
    count, height, width, channels = images.shape
    flat = images.permute(0, 3, 1, 2).reshape(count * channels, -1).long()
    histogram = torch.zeros(len(flat), 256, dtype=torch.long, device=images.device)
    histogram.scatter_add_(1, flat, torch.ones_like(flat))
    highest = flat.amax(1, keepdim=True)
    step = (height * width - histogram.gather(1, highest)) // 255
    before = histogram.cumsum(1) - histogram
    table = ((before + step // 2) // step.clamp(min=1)).clamp(0, 255)
    equal = torch.where(step > 0, table.gather(1, flat), flat)
    return equal.reshape(count, channels, height, width).permute(0, 2, 3, 1).to(torch.uint8)


COLOURS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "brightness": lambda images, strength: _blend(images, torch.zeros_like(images), strength),
    "color": lambda images, strength: _blend(images, _grey(images), strength),
    "contrast": lambda images, strength: _blend(images, _grey(images).mean((1, 2, 3), keepdim=True), strength),
    "sharpness": _sharpness,
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
}
