"""Resized crops, vertical flip, rotation, color jitter, blur, RandAugment: torchvision's pixels, draws in their ranges.

Pixels are compared with those of torchvision's functions on float images, which round nothing in between; resized crops
on a CPU with those of its function on uint8 images.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from tests.trainer.engine.pictures import FILL, smooth_images
from tests.trainer.engine.test_trivial_augment import reference
from trainer.engine.augment import EpochDraws, draw_epoch, place
from trainer.engine.blur import blur_radius
from trainer.engine.resized_crop import at_once
from trainer.engine.trivial_augment import MOVING, RANDAUGMENT, Op
from trainer.spec.augment_spec import AugmentSpec

COUNT = 24
ROUNDED = 0.51  # levels: half a level, and the floats' own error
EVERYTHING = {
    "resized_crop": 0.08, "flip": True, "vertical_flip": True, "rotation": 30, "brightness": 0.4, "contrast": 0.4,
    "saturation": 0.4, "hue": 0.1, "blur": 0.5, "randaugment": 2,
}  # fmt: skip


def draw(spec: AugmentSpec, count: int = COUNT, *, stored: int = 32, size: int = 32, epoch: int = 7) -> EpochDraws:
    return draw_epoch(spec, count, 3, epoch, torch.device("cpu"), stored, size)


def augmented(spec: AugmentSpec, images: Tensor, draws: EpochDraws, size: int = 32) -> Tensor:
    every = torch.arange(len(images))
    return place(spec, images, every, draws, every, fill=FILL, size=size)


def floats(image: Tensor) -> Tensor:
    """float C×H×W from 0 to 1."""
    return image.permute(2, 0, 1).float() / 255


def assert_close(found: Tensor, expected: Tensor, levels: float = ROUNDED) -> None:
    """`found` is uint8 H×W×3, `expected` float C×H×W from 0 to 1."""
    apart = (found.float() - 255 * expected.permute(1, 2, 0)).abs().max()
    assert float(apart) <= levels


@pytest.mark.parametrize(("stored", "size"), [(32, 32), (48, 32), (160, 48), (33, 64)])
def test_a_resized_crop_is_that_of_torchvision(stored: int, size: int) -> None:
    spec = AugmentSpec(resized_crop=0.08, flip=True, vertical_flip=True)
    images, draws = smooth_images(COUNT, stored), draw(spec, stored=stored, size=size)
    assert draws.box is not None
    assert draws.flip is not None
    assert draws.inverted is not None
    on_a_gpu = at_once(images, torch.arange(COUNT), draws.box, size, draws.flip, draws.inverted)
    for index, found in enumerate(augmented(spec, images, draws, size)):
        box, flips = draws.box[index].tolist(), [(1, draws.inverted[index]), (2, draws.flip[index])]
        turned = [direction for direction, flipped in flips if flipped]
        pixels = images[index].permute(2, 0, 1)
        expected = TF.resized_crop(pixels, *box, [size, size], antialias=True).flip(turned)
        assert torch.equal(found, expected.permute(1, 2, 0))
        assert_close(
            on_a_gpu[index], TF.resized_crop(floats(images[index]), *box, [size, size], antialias=True).flip(turned)
        )


def test_boxes_have_the_areas_and_shapes_that_are_asked_for() -> None:
    boxes = draw(AugmentSpec(resized_crop=0.25), 5000, stored=96).box
    assert boxes is not None
    top, left, height, width = boxes.double().unbind(1)
    assert (boxes >= 0).all()
    assert (top + height <= 96).all()
    assert (left + width <= 96).all()
    share, ratio = height * width / 96**2, width / height
    assert 0.245 < float(share.min()) < 0.27
    assert 0.9 < float(share.max()) <= 1
    assert 0.73 < float(ratio.min()) < 0.77
    assert 1.3 < float(ratio.max()) < 1.37
    assert abs(float(ratio.log().mean())) < 0.02
    assert float((top / (96 - height))[height < 96].mean()) == pytest.approx(0.5, abs=0.02)
    smallest = draw(AugmentSpec(resized_crop=0.001), 200, stored=16).box
    assert smallest is not None
    assert (smallest[:, 2:] >= 1).all()


def test_a_vertical_flip_turns_half_of_the_images_over() -> None:
    spec = AugmentSpec(vertical_flip=True)
    images, draws = smooth_images(200), draw(spec, 200)
    assert draws.inverted is not None
    assert 70 < int(draws.inverted.sum()) < 130
    for image, found, inverted in zip(images, augmented(spec, images, draws), draws.inverted, strict=True):
        assert torch.equal(found, image.flip(0) if inverted else image)


def test_rotation_is_that_of_torchvision() -> None:
    spec = AugmentSpec(rotation=180)
    images, draws = smooth_images(COUNT), draw(spec)
    assert draws.turn is not None
    angles = torch.atan2(draws.turn[:, 1], draws.turn[:, 0]).rad2deg()
    fill = (FILL / 255)[:, None, None]
    for image, found, angle in zip(images, augmented(spec, images, draws), angles.tolist(), strict=True):
        # Without a fill: where an edge pixel is partly outside, torchvision's fill is counted twice.
        moved = TF.rotate(floats(image) - fill, angle, TF.InterpolationMode.BILINEAR)
        assert_close(found, moved + fill)
    many = draw(AugmentSpec(rotation=20), 5000).turn
    assert many is not None
    angles = torch.atan2(many[:, 1], many[:, 0]).rad2deg()
    assert 19.9 < float(angles.max()) <= 20
    assert abs(float(angles.mean())) < 0.5


@pytest.mark.parametrize(
    "amounts",
    [{"brightness": 1.0}, {"contrast": 1.0}, {"saturation": 1.0}, {"hue": 0.5},
     {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}],
)  # fmt: skip
def test_color_jitter_is_that_of_torchvision(amounts: dict[str, float]) -> None:
    spec = AugmentSpec(**amounts)
    images, draws = smooth_images(COUNT), draw(spec)
    images[0] = images[0, :, :, :1]  # gray
    assert draws.colors is not None
    for image, found, (brightness, contrast, saturation, hue) in zip(
        images, augmented(spec, images, draws), draws.colors.tolist(), strict=True
    ):
        expected = TF.adjust_contrast(TF.adjust_brightness(floats(image), brightness), contrast)
        expected = TF.adjust_hue(TF.adjust_saturation(expected, saturation), hue)
        assert_close(found, expected, 0.55)
    many = draw(spec, 5000).colors
    assert many is not None
    middle = torch.tensor([1.0, 1.0, 1.0, 0.0])
    widths = torch.tensor([getattr(spec, name) for name in ("brightness", "contrast", "saturation", "hue")])
    torch.testing.assert_close((many - middle).amax(0), widths, rtol=0.01, atol=1e-6)
    torch.testing.assert_close((middle - many).amax(0), widths, rtol=0.01, atol=1e-6)


@pytest.mark.parametrize("size", [16, 32, 160])
def test_blur_is_that_of_torchvision(size: int) -> None:
    spec = AugmentSpec(blur=0.5)
    images, draws = smooth_images(COUNT, size), draw(spec, stored=size, size=size)
    assert draws.kernel is not None
    side = 2 * blur_radius(size) + 1
    blurred = 0
    for image, found, kernel in zip(images, augmented(spec, images, draws, size), draws.kernel, strict=True):
        if kernel[1] == 0:
            assert torch.equal(found, image)
            continue
        blurred += 1
        sigma = float((-0.5 / (kernel[1] / kernel[0]).log()).sqrt())
        assert 0.1 <= sigma <= 2.001
        assert_close(found, TF.gaussian_blur(floats(image), [side, side], [sigma, sigma]))
    assert 4 < blurred < COUNT - 4


@pytest.mark.parametrize("magnitude", [9, 30])
def test_randaugment_is_that_of_torchvision(magnitude: int) -> None:
    spec = AugmentSpec(randaugment=1, randaugment_magnitude=magnitude)
    images, draws = smooth_images(100), draw(spec, 100)
    assert draws.operations is not None
    assert {op for op, _, _ in draws.operations[:, 0].tolist()} == set(Op)
    for image, found, (op, bin_, sign) in zip(
        images, augmented(spec, images, draws), draws.operations[:, 0].tolist(), strict=True
    ):
        assert bin_ == magnitude
        apart = (found.int() - reference(image, Op(op), bin_, sign, RANDAUGMENT).int()).abs().amax(-1)
        assert int((apart > 1).sum()) <= (8 if op in MOVING else 0), Op(op)


def test_randaugment_applies_its_operations_one_after_the_other() -> None:
    spec = AugmentSpec(randaugment=3)
    images, draws = smooth_images(COUNT), draw(spec)
    assert draws.operations is not None
    single = AugmentSpec(randaugment=1)
    expected = images
    for number in range(3):
        one = EpochDraws(draws.order, operations=draws.operations[:, number : number + 1])
        expected = augmented(single, expected, one)
    assert torch.equal(augmented(spec, images, draws), expected)


@pytest.mark.parametrize("chosen", [{name: value} for name, value in EVERYTHING.items()] + [EVERYTHING])
def test_a_sample_does_not_depend_on_its_batch(chosen: dict[str, Any]) -> None:
    spec = AugmentSpec(**chosen)
    images, draws = smooth_images(COUNT, 48), draw(spec, stored=48)
    together = augmented(spec, images, draws)
    assert together.shape == (COUNT, *((32, 32) if "resized_crop" in chosen else (48, 48)), 3)
    for batch in ([5], [20, 3, 11], list(range(COUNT - 1, -1, -1))):
        part = torch.tensor(batch)
        assert torch.equal(place(spec, images, part, draws, part, fill=FILL, size=32), together[part])
    again = augmented(spec, images, draw(spec, stored=48))
    assert torch.equal(again, together)
    assert not torch.equal(augmented(spec, images, draw(spec, stored=48, epoch=8)), together)
