"""Augmentation: what is drawn, what it does to pixels and labels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.augment import draw_epoch, gather, mix, place, resize
from trainer.spec import AugmentSpec

CPU = torch.device("cpu")
COUNT, SIZE = 40, 12
FILL = torch.tensor([10, 20, 30], dtype=torch.uint8)
ALL: dict[str, Any] = {"crop": 3, "flip": True, "cutout": 4, "trivial": True, "mixup": 0.4, "cutmix": 1.0}


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randint(0, 256, (COUNT, SIZE, SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def drawn(epoch: int = 0, seed: int = 1, **fields: Any) -> tuple[AugmentSpec, Any]:
    spec = AugmentSpec(**fields)
    return spec, draw_epoch(spec, COUNT, seed, epoch, CPU, SIZE)


def placed(images: Tensor, chosen: Tensor, epoch: int = 0, **fields: Any) -> Tensor:
    spec, draws = drawn(epoch, **fields)
    return place(spec, images, chosen, draws, chosen, fill=FILL)


def test_a_seed_and_an_epoch_decide_every_draw() -> None:
    first, again, other = (drawn(epoch, **ALL)[1] for epoch in (3, 3, 4))
    for name, value in vars(first).items():
        assert torch.equal(value, getattr(again, name))
        assert name == "trivial" or not torch.equal(value, getattr(other, name))


def test_what_is_off_changes_nothing_of_what_is_on() -> None:
    plain, full = drawn(crop=3, flip=True)[1], drawn(**ALL)[1]
    for name in ("order", "flip", "shift"):
        assert torch.equal(getattr(plain, name), getattr(full, name))
    assert plain.hole is plain.blend is plain.trivial is None


def test_a_sample_is_the_same_in_any_batch(images: Tensor) -> None:
    fields = {name: value for name, value in ALL.items() if name not in ("mixup", "cutmix")}
    together = placed(images, torch.arange(COUNT), **fields)
    assert torch.equal(placed(images, torch.tensor([7]), **fields)[0], together[7])
    assert not torch.equal(together, images)


def test_a_crop_shows_the_reflection_or_the_fill(images: Tensor) -> None:
    pixels = images.permute(0, 3, 1, 2).float()
    _, draws = drawn(crop=3)
    for padding in ("reflect", "zero"):
        result = placed(images, torch.arange(COUNT), crop=3, padding=padding)
        padded = F.pad(pixels, (3,) * 4, mode="reflect") if padding == "reflect" else None
        if padded is None:
            padded = F.pad(pixels - FILL[:, None, None], (3,) * 4) + FILL[:, None, None]
        for i, (down, right) in enumerate(draws.shift.tolist()):
            expected = padded[i, :, 3 + down : 3 + down + SIZE, 3 + right : 3 + right + SIZE]
            assert torch.equal(result[i].permute(2, 0, 1).float(), expected)


def test_alternating_shows_each_image_both_ways_in_two_epochs(images: Tensor) -> None:
    everything = torch.arange(COUNT)
    first, second, third = (placed(images, everything, epoch, flip=True, alternating=True) for epoch in (0, 1, 2))
    assert torch.equal(first, second.flip(2))
    assert torch.equal(first, third)
    assert not torch.equal(first, images)


def test_a_cutout_blanks_a_square(images: Tensor) -> None:
    result = placed(images, torch.arange(COUNT), cutout=4)
    blank = (result == FILL).all(-1)
    areas = blank.sum((1, 2))
    assert areas.max() == 16
    assert areas.min() >= 4
    assert torch.equal(result[~blank], images[~blank])


@pytest.mark.parametrize("fields", [{"mixup": 0.5}, {"cutmix": 1.0}, {"mixup": 0.5, "cutmix": 1.0}])
def test_labels_are_mixed_as_the_pixels_are(fields: dict[str, Any]) -> None:
    spec, draws = drawn(**fields)
    labels, chosen = torch.arange(COUNT), torch.arange(COUNT)
    images = labels[:, None, None, None].float().expand(COUNT, 3, SIZE, SIZE).contiguous()
    mixed = mix(spec, images, labels, draws, chosen)
    assert mixed is not None
    assert torch.equal(mixed.other_labels, labels.roll(1))
    assert ((mixed.weight >= 0) & (mixed.weight <= 1)).all()
    expected = mixed.weight * labels + (1 - mixed.weight) * mixed.other_labels
    assert torch.allclose(mixed.images.mean((1, 2, 3)), expected, atol=1e-4)
    if "mixup" not in fields:
        assert set(mixed.images[5].flatten().tolist()) <= {5.0, 4.0}


def test_nothing_is_mixed_unless_asked_for(images: Tensor) -> None:
    spec, draws = drawn(crop=2)
    floats = images.permute(0, 3, 1, 2).float()
    assert mix(spec, floats, torch.arange(COUNT), draws, torch.arange(COUNT)) is None


def test_a_batch_of_one_is_mixed_with_itself() -> None:
    spec, draws = drawn(mixup=0.5, cutmix=0.5)
    image = torch.rand(1, 3, SIZE, SIZE)
    mixed = mix(spec, image, torch.tensor([3]), draws, torch.tensor([0]))
    assert mixed is not None
    assert torch.allclose(mixed.images, image)


def test_resizing_keeps_the_mean_and_the_layout() -> None:
    images = torch.rand(4, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    small = resize(images, 20)
    assert small.shape == (4, 3, 20, 20)
    assert small.is_contiguous(memory_format=torch.channels_last)
    assert small.mean().item() == pytest.approx(images.mean().item(), abs=5e-3)
    assert resize(images, 32) is images


def test_gathering_without_augmentation_is_a_plain_read(images: Tensor) -> None:
    rows = torch.tensor([3, 1, 2])
    assert torch.equal(gather(images, rows, None, None), images[rows])
