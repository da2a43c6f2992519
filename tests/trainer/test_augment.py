from __future__ import annotations

import torch
import torch.nn.functional as F

from trainer.augment import draw_epoch, gather
from trainer.spec import AugmentSpec

IMAGES = torch.arange(6 * 8 * 8 * 3, dtype=torch.uint8).view(6, 8, 8, 3)


def test_one_gather_equals_padding_flipping_and_cropping() -> None:
    rows = torch.tensor([4, 0, 5])
    shift = torch.tensor([[-3, 2], [0, 0], [3, -1]])
    flip = torch.tensor([True, False, True])
    padded = F.pad(IMAGES[rows].permute(0, 3, 1, 2).float(), (4, 4, 4, 4), mode="reflect")
    expected = []
    for image, (down, right), mirrored in zip(padded, shift.tolist(), flip.tolist(), strict=True):
        source = image.flip(2) if mirrored else image
        expected.append(source[:, 4 + down : 12 + down, 4 + right : 12 + right])
    result = gather(IMAGES, rows, flip, shift)
    assert torch.equal(result, torch.stack(expected).permute(0, 2, 3, 1).to(torch.uint8))


def test_without_augmentation_rows_are_taken_as_they_are() -> None:
    assert torch.equal(gather(IMAGES, torch.tensor([2, 2]), None, None), IMAGES[[2, 2]])


def test_draws_depend_on_seed_and_epoch_alone() -> None:
    spec, cpu = AugmentSpec(crop=4, flip=True), torch.device("cpu")
    torch.manual_seed(1)
    first = draw_epoch(spec, 100, seed=3, epoch=7, device=cpu)
    torch.manual_seed(2)
    again = draw_epoch(spec, 100, seed=3, epoch=7, device=cpu)
    other = draw_epoch(spec, 100, seed=3, epoch=8, device=cpu)
    assert torch.equal(first.order, again.order)
    assert first.shift is not None
    assert again.shift is not None
    assert torch.equal(first.shift, again.shift)
    assert not torch.equal(first.order, other.order)
    assert sorted(first.order.tolist()) == list(range(100))
    assert set(first.shift.flatten().tolist()) == set(range(-4, 5))
