from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.engine.augment import EpochDraws, draw_epoch, mix, place
from trainer.models.inputs import resize
from trainer.spec.augment_spec import AugmentSpec

CPU = torch.device("cpu")
IMAGES = torch.randint(0, 256, (40, 16, 16, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
FILL = torch.tensor([120, 110, 100], dtype=torch.uint8)
EVERYTHING = AugmentSpec(crop=4, flip=True, cutout=6, mixup=0.2, cutmix=1.0, trivial=True)


def draw(spec: AugmentSpec, count: int = 40, seed: int = 3, epoch: int = 7) -> EpochDraws:
    return draw_epoch(spec, count, seed, epoch, CPU, image_size=16, network_size=16)


def drawn(draws: EpochDraws) -> dict[str, Tensor]:
    found = {field.name: getattr(draws, field.name) for field in fields(draws)}
    return {name: value for name, value in found.items() if value is not None}


def place_all(spec: AugmentSpec, draws: EpochDraws, chosen: Tensor | None = None) -> Tensor:
    chosen = torch.arange(40) if chosen is None else chosen
    return place(spec, IMAGES, chosen, draws, chosen, fill=FILL, size=16)


def normalized(count: int, size: int = 16) -> Tensor:
    pixels = torch.randn(count, size, size, 3, generator=torch.Generator().manual_seed(1))
    return pixels.permute(0, 3, 1, 2)


def is_channels_last(images: Tensor) -> bool:
    return images.is_contiguous(memory_format=torch.channels_last)


def test_draws_depend_on_seed_and_epoch_alone() -> None:
    torch.manual_seed(1)
    first = drawn(draw(EVERYTHING))
    torch.manual_seed(2)
    again = drawn(draw(EVERYTHING))
    others = drawn(draw(EVERYTHING, epoch=8)), drawn(draw(EVERYTHING, seed=4))
    assert set(first) == {"order", "flip", "shift", "trivial", "cutout", "share", "pasted", "center"}
    for name, values in first.items():
        assert len(values) == 40
        assert torch.equal(values, again[name])
        assert not any(torch.equal(values, other[name]) for other in others), name


def test_order_flip_and_shift_are_drawn_as_they_always_were() -> None:
    generator = torch.Generator().manual_seed(3 * 1_000_003 + 7)
    order = torch.randperm(40, generator=generator)
    flip = torch.rand(40, generator=generator) < 0.5
    shift = torch.randint(-4, 5, (40, 2), generator=generator)
    old = drawn(draw(AugmentSpec(crop=4, flip=True)))
    assert set(old) == {"order", "flip", "shift"}
    for draws in (old, drawn(draw(EVERYTHING))):
        assert torch.equal(draws["order"], order)
        assert torch.equal(draws["flip"], flip)
        assert torch.equal(draws["shift"], shift)
    assert set(drawn(draw(AugmentSpec()))) == {"order"}


@pytest.mark.parametrize("padding", ["reflect", "zero"])
def test_one_read_equals_flipping_padding_and_cropping(padding: Any) -> None:
    spec = AugmentSpec(crop=4, flip=True, padding=padding)
    draws = draw(spec)
    assert draws.flip is not None
    assert draws.shift is not None
    expected = []
    for image, mirrored, (down, right) in zip(IMAGES, draws.flip.tolist(), draws.shift.tolist(), strict=True):
        source = (image.flip(1) if mirrored else image).permute(2, 0, 1).float()
        if padding == "reflect":
            padded = F.pad(source, (4, 4, 4, 4), mode="reflect")
        else:
            padded = FILL.float()[:, None, None].expand(3, 24, 24).clone()
            padded[:, 4:20, 4:20] = source
        expected.append(padded[:, 4 + down : 20 + down, 4 + right : 20 + right])
    assert torch.equal(place_all(spec, draws), torch.stack(expected).permute(0, 2, 3, 1).to(torch.uint8))


def test_rows_are_read_and_draws_are_looked_up_by_position_in_the_split() -> None:
    spec = AugmentSpec(flip=True)
    draws = draw(spec)
    assert draws.flip is not None
    chosen, rows = torch.tensor([5, 0, 9]), torch.tensor([30, 31, 30])
    found = place(spec, IMAGES, rows, draws, chosen, fill=FILL, size=16)
    for image, row, position in zip(found, rows.tolist(), chosen.tolist(), strict=True):
        assert torch.equal(image, IMAGES[row].flip(1) if draws.flip[position] else IMAGES[row])


def test_with_nothing_to_do_rows_are_taken_as_they_are() -> None:
    chosen = torch.tensor([2, 2, 7])
    assert torch.equal(place_all(AugmentSpec(), draw(AugmentSpec()), chosen), IMAGES[chosen])


def test_a_sample_does_not_depend_on_its_batch() -> None:
    draws = draw(EVERYTHING)
    together = place_all(EVERYTHING, draws)
    assert not torch.equal(together, IMAGES)
    assert torch.equal(place_all(EVERYTHING, draws, torch.arange(39, -1, -1)).flip(0), together)
    alone = [place_all(EVERYTHING, draws, torch.tensor([i])) for i in range(40)]
    assert torch.equal(torch.cat(alone), together)


def test_alternating_flips_show_each_image_both_ways_in_any_two_epochs() -> None:
    spec = AugmentSpec(flip=True, alternating=True)
    flips = [drawn(draw(spec, epoch=epoch))["flip"] for epoch in range(4)]
    assert torch.equal(flips[0], ~flips[1])
    assert torch.equal(flips[1], ~flips[2])
    assert torch.equal(flips[0], flips[2])
    assert 5 < int(flips[0].sum()) < 35
    assert not torch.equal(flips[0], drawn(draw(spec, seed=4, epoch=0))["flip"])
    assert len({tuple(draw(spec, epoch=epoch).order.tolist()) for epoch in range(4)}) == 4


@pytest.mark.parametrize("side", [5, 6])
def test_cutout_blanks_a_square_that_the_edges_clip(side: int) -> None:
    spec = AugmentSpec(cutout=side)
    draws = draw(spec)
    assert draws.cutout is not None
    for image, original, (y, x) in zip(place_all(spec, draws), IMAGES, draws.cutout.tolist(), strict=True):
        top, left = y - side // 2, x - side // 2
        expected = original.clone()
        expected[max(0, top) : top + side, max(0, left) : left + side] = FILL
        assert torch.equal(image, expected)
    assert draws.cutout.min() == 0
    assert draws.cutout.max() == 15


def test_cutout_comes_after_the_crop_and_the_operation() -> None:
    spec = AugmentSpec(crop=4, trivial=True, cutout=40)
    assert torch.equal(place_all(spec, draw(spec)), FILL.expand_as(IMAGES))


def test_mixup_blends_each_image_with_the_one_before() -> None:
    spec = AugmentSpec(mixup=0.4)
    draws, images, labels = draw(spec), normalized(6), torch.arange(6)
    chosen = torch.tensor([8, 1, 30, 4, 2, 39])
    mixed = mix(spec, images, labels, draws, chosen)
    assert mixed is not None
    assert draws.share is not None
    assert torch.equal(mixed.weight, draws.share[chosen])
    assert mixed.weight.dtype == torch.float32
    assert mixed.other_labels.tolist() == [5, 0, 1, 2, 3, 4]
    for i, weight in enumerate(mixed.weight):
        torch.testing.assert_close(mixed.images[i], images[i] * weight + images[i - 1] * (1 - weight))
    assert is_channels_last(mixed.images)


def test_the_share_has_the_beta_distribution_of_its_alpha() -> None:
    for spec, alpha in ((AugmentSpec(mixup=0.2), 0.2), (AugmentSpec(cutmix=1.0), 1.0)):
        share = drawn(draw(spec, count=20_000))["share"]
        assert float(share.mean()) == pytest.approx(0.5, abs=0.02)
        assert float(share.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)


def test_cutmix_pastes_a_box_and_weighs_by_its_area() -> None:
    spec = AugmentSpec(cutmix=1.0)
    draws, images, chosen = draw(spec), normalized(40), torch.arange(40)
    mixed = mix(spec, images, torch.arange(40), draws, chosen)
    assert mixed is not None
    assert draws.share is not None
    own = (mixed.images == images).all(1)
    other = (mixed.images == images.roll(1, 0)).all(1)
    assert bool((own ^ other).all())
    assert torch.equal(mixed.weight, own.flatten(1).sum(1) / 256)
    for pasted, share in zip(other, draws.share.tolist(), strict=True):
        height, width = int(pasted.any(1).sum()), int(pasted.any(0).sum())
        assert int(pasted.sum()) == height * width
        assert max(height, width) <= 16 * (1 - share) ** 0.5
    assert 0.3 < float(mixed.weight.mean()) < 0.8
    assert is_channels_last(mixed.images)


def test_with_both_each_sample_takes_one_of_the_two() -> None:
    spec = AugmentSpec(mixup=1.0, cutmix=1.0)
    draws, images, chosen = draw(spec), normalized(40), torch.arange(40)
    mixed = mix(spec, images, torch.arange(40), draws, chosen)
    assert mixed is not None
    assert draws.pasted is not None
    assert draws.share is not None
    assert 8 < int(draws.pasted.sum()) < 32
    partners = images.roll(1, 0)
    for i, pasted in enumerate(draws.pasted.tolist()):
        own, other = (mixed.images[i] == images[i]).all(0), (mixed.images[i] == partners[i]).all(0)
        if pasted:
            assert bool((own | other).all())
            assert float(mixed.weight[i]) == float(own.sum()) / 256
        else:
            weight = draws.share[i]
            assert mixed.weight[i] == weight
            torch.testing.assert_close(mixed.images[i], images[i] * weight + partners[i] * (1 - weight))


@pytest.mark.parametrize("spec", [AugmentSpec(mixup=0.2), AugmentSpec(cutmix=1.0), EVERYTHING])
def test_a_batch_of_one_is_mixed_with_itself(spec: AugmentSpec) -> None:
    images = normalized(1)
    mixed = mix(spec, images, torch.tensor([4]), draw(spec), torch.tensor([11]))
    assert mixed is not None
    torch.testing.assert_close(mixed.images, images)
    assert mixed.other_labels.tolist() == [4]
    assert place_all(spec, draw(spec), torch.tensor([11])).shape == (1, 16, 16, 3)


def test_nothing_is_mixed_if_neither_is_on() -> None:
    spec = AugmentSpec(crop=2, cutout=4)
    assert mix(spec, normalized(3), torch.arange(3), draw(spec), torch.arange(3)) is None


def test_resizing_keeps_channels_last_and_averages() -> None:
    images = normalized(3)
    assert resize(images, 16) is images
    for size in (8, 12, 24):
        resized = resize(images, size)
        assert resized.shape == (3, 3, size, size)
        assert is_channels_last(resized)
    assert not is_channels_last(resize(images.contiguous(), 8))
    levels = torch.full((1, 3, 16, 16), 0.7)
    torch.testing.assert_close(resize(levels, 10), levels[..., :10, :10])
    # Without antialiasing a checkerboard would keep its contrast.
    board = (torch.arange(16)[:, None] + torch.arange(16)).remainder(2).float().expand(1, 3, 16, 16)
    assert float(resize(board, 8).std()) < 0.05
