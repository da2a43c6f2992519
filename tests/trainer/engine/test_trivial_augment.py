from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from tests.trainer.engine.pictures import FILL, smooth_images
from trainer.engine.trivial_augment import BINS, MOVING, WIDE, Op, Ranges, draw_trivial, trivial_augment

SIGNED = set(range(Op.SHEAR_X, Op.POSTERIZE))


def reference(image: Tensor, op: Op, bin_: int, sign: int, ranges: Ranges = WIDE) -> Tensor:
    """Apply the operation of torchvision's TrivialAugmentWide or RandAugment to `image` (uint8 H×W×3)."""
    share = float(torch.linspace(0.0, ranges.factor, BINS)[bin_]) * sign
    farthest = ranges.pixels * (image.shape[1] if ranges.relative else 1)
    pixels = int(float(torch.linspace(0.0, farthest, BINS)[bin_]) * sign)
    fill = FILL.tolist()
    shear = math.degrees(math.atan(float(torch.linspace(0.0, ranges.shear, BINS)[bin_]) * sign))
    chw = image.permute(2, 0, 1).contiguous()
    none = [0.0, 0.0]
    found: dict[Op, Callable[[], Tensor]] = {
        Op.IDENTITY: lambda: chw,
        Op.SHEAR_X: lambda: TF.affine(chw, 0.0, [0, 0], 1.0, [shear, 0.0], fill=fill, center=[0, 0]),
        Op.SHEAR_Y: lambda: TF.affine(chw, 0.0, [0, 0], 1.0, [0.0, shear], fill=fill, center=[0, 0]),
        Op.TRANSLATE_X: lambda: TF.affine(chw, 0.0, [pixels, 0], 1.0, none, fill=fill),
        Op.TRANSLATE_Y: lambda: TF.affine(chw, 0.0, [0, pixels], 1.0, none, fill=fill),
        Op.ROTATE: lambda: TF.rotate(chw, float(torch.linspace(0.0, ranges.degrees, BINS)[bin_]) * sign, fill=fill),
        Op.BRIGHTNESS: lambda: TF.adjust_brightness(chw, 1.0 + share),
        Op.COLOR: lambda: TF.adjust_saturation(chw, 1.0 + share),
        Op.CONTRAST: lambda: TF.adjust_contrast(chw, 1.0 + share),
        Op.SHARPNESS: lambda: TF.adjust_sharpness(chw, 1.0 + share),
        Op.POSTERIZE: lambda: TF.posterize(
            chw, int((8 - (torch.arange(BINS) / ((BINS - 1) / ranges.bits))).round()[bin_])
        ),
        Op.SOLARIZE: lambda: TF.solarize(chw, 255.0 * float(torch.linspace(1.0, 0.0, BINS)[bin_])),
        Op.AUTOCONTRAST: lambda: TF.autocontrast(chw),
        Op.EQUALIZE: lambda: TF.equalize(chw),
    }
    return found[op]().permute(1, 2, 0)


@pytest.mark.parametrize("op", Op)
def test_each_operation_is_that_of_torchvision_at_every_strength(op: Op) -> None:
    draws = [(op, bin_, sign) for bin_ in range(BINS) for sign in ((1, -1) if op in SIGNED else (1,))]
    images = smooth_images(len(draws))
    found = trivial_augment(images, torch.tensor(draws), FILL)
    changed = 0
    for image, result, draw in zip(images, found, draws, strict=True):
        apart = (result.int() - reference(image, *draw).int()).abs().amax(-1)
        # Ties between nearest neighbors may be rounded either way.
        allowed = 8 if op in MOVING else 0
        assert int((apart > 1).sum()) <= allowed, draw
        changed += not torch.equal(result, image)
    assert changed == 0 if op is Op.IDENTITY else changed > len(draws) // 2


@pytest.mark.parametrize("op", [Op.AUTOCONTRAST, Op.EQUALIZE, Op.CONTRAST, Op.SHARPNESS])
def test_images_of_one_colour_and_tiny_ones(op: Op) -> None:
    for image in (torch.full((8, 8, 3), 77, dtype=torch.uint8), smooth_images(1, 2)[0], smooth_images(1, 24)[0, :, :9]):
        found = trivial_augment(image[None], torch.tensor([[op, 12, 1]]), FILL)
        assert int((found[0].int() - reference(image, op, 12, 1).int()).abs().max()) <= 1


def test_oblong_images_move_as_those_of_torchvision() -> None:
    image = smooth_images(1)[0, :20]
    for op in sorted(MOVING):
        found = trivial_augment(image[None], torch.tensor([[op, 7, -1]]), FILL)[0]
        assert int((found != reference(image, Op(op), 7, -1)).any(-1).sum()) <= 8, op


def test_a_sample_does_not_depend_on_its_batch() -> None:
    images = smooth_images(97)
    draws = draw_trivial(97, torch.Generator().manual_seed(1))
    together = trivial_augment(images, draws, FILL)
    alone = [trivial_augment(images[i : i + 1], draws[i : i + 1], FILL) for i in range(97)]
    assert torch.equal(together, torch.cat(alone))


def test_images_are_left_as_they_were() -> None:
    images = smooth_images(40)
    before = images.clone()
    trivial_augment(images, draw_trivial(40, torch.Generator().manual_seed(2)), FILL)
    assert torch.equal(images, before)


def test_draws_cover_every_operation_bin_and_sign() -> None:
    ops, bins, signs = draw_trivial(5000, torch.Generator().manual_seed(3)).unbind(1)
    assert ops.bincount().min() > 5000 / len(Op) * 0.7
    assert len(ops.bincount()) == len(Op)
    assert set(bins.tolist()) == set(range(BINS))
    assert set(signs.tolist()) == {-1, 1}
    assert abs(float(signs.float().mean())) < 0.1
