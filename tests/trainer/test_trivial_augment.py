"""TrivialAugment's batched operations against torchvision's, an image at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.autoaugment import _apply_op

from trainer.trivial_augment import BINS, ENHANCE, OPERATIONS, ROTATE, SHEAR, TRANSLATE, draw_trivial, trivial_augment

NAMES = {
    "identity": "Identity", "shear_x": "ShearX", "shear_y": "ShearY", "translate_x": "TranslateX",
    "translate_y": "TranslateY", "rotate": "Rotate", "brightness": "Brightness", "color": "Color",
    "contrast": "Contrast", "sharpness": "Sharpness", "posterize": "Posterize", "solarize": "Solarize",
    "autocontrast": "AutoContrast", "equalize": "Equalize",
}  # fmt: skip
RANGES = {"shear_x": SHEAR, "shear_y": SHEAR, "translate_x": TRANSLATE, "translate_y": TRANSLATE, "rotate": ROTATE}
SIGNED = {*RANGES, "brightness", "color", "contrast", "sharpness"}


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    """Smooth images with an edge, uint8 6×32×32×3: a field of noise would hide what a pixel's shift does."""
    generator = torch.Generator().manual_seed(3)
    small = torch.rand(6, 3, 5, 5, generator=generator)
    large = torch.nn.functional.interpolate(small, (32, 32), mode="bicubic").clamp(0, 1)
    large[:, :, :, 20:] *= 0.6
    return (large * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def expected(image: Tensor, name: str, bin_: int, turned: int) -> Tensor:
    share = bin_ / (BINS - 1)
    magnitude = {
        "posterize": 8 - round(share * 6),
        "solarize": 255 * (1 - share),
    }.get(name, share * RANGES.get(name, ENHANCE)) * (-1 if turned and name in SIGNED else 1)
    picture = image.permute(2, 0, 1)
    done = _apply_op(picture, NAMES[name], float(magnitude), InterpolationMode.NEAREST, fill=[0.0, 0.0, 0.0])
    result: Tensor = done.permute(1, 2, 0)
    return result


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_does_what_torchvisions_does(pictures: Tensor, name: str) -> None:
    fill = torch.zeros(3, dtype=torch.uint8)
    for bin_, turned in ((0, 0), (9, 1), (17, 0), (30, 1)):
        draws = torch.tensor([[OPERATIONS.index(name), bin_, turned]]).expand(len(pictures), 3)
        ours = trivial_augment(pictures, draws, fill)
        theirs = torch.stack([expected(image, name, bin_, turned) for image in pictures])
        off = (ours.int() - theirs.int()).abs().amax(-1) > 1
        allowed = 0.02 if name in RANGES else 0.0  # nearest neighbours at exactly half a pixel
        assert off.float().mean() <= allowed, (name, bin_, turned)


def test_each_image_has_its_own_operation(pictures: Tensor) -> None:
    fill = torch.full((3,), 128, dtype=torch.uint8)
    draws = draw_trivial(len(pictures), torch.Generator().manual_seed(1))
    together = trivial_augment(pictures, draws, fill)
    apart = [trivial_augment(pictures[i : i + 1], draws[i : i + 1], fill)[0] for i in range(len(pictures))]
    assert torch.equal(together, torch.stack(apart))
    assert len(set(draws[:, 0].tolist())) > 1


def test_draws_cover_all_operations_and_strengths() -> None:
    draws = draw_trivial(5000, torch.Generator().manual_seed(1))
    assert [len(set(draws[:, i].tolist())) for i in range(3)] == [len(OPERATIONS), BINS, 2]
