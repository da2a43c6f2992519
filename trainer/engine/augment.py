"""Random order and augmentation, drawn a whole epoch at a time so that a resumed run draws the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainer.engine.pixels import read_pixels
from trainer.engine.trivial_augment import draw_trivial, trivial_augment
from trainer.spec.train_spec import AugmentSpec


@dataclass(frozen=True)
class EpochDraws:
    """Draws of one epoch, indexed by position in the split; None where the spec does not ask for them.

    `order` int64 (n,); `flip` bool (n,); `shift` int64 (n, 2) of rows and columns; `trivial` int64 (n, 3), see
    `draw_trivial`; `cutout` int64 (n, 2), the square's centre in pixels. For mixup and cutmix: `share` float32 (n,),
    the Beta draw; `pasted` bool (n,), who takes cutmix; `centre` float32 (n, 2), its box's centre as a share of the
    sides.
    """

    order: Tensor
    flip: Tensor | None = None
    shift: Tensor | None = None
    trivial: Tensor | None = None
    cutout: Tensor | None = None
    share: Tensor | None = None
    pasted: Tensor | None = None
    centre: Tensor | None = None


@dataclass(frozen=True)
class Mixed:
    """`images` float B×3×H×W, `other_labels` int64 (B,), `weight` float32 (B,): the share of a sample's own label."""

    images: Tensor
    other_labels: Tensor
    weight: Tensor


def draw_epoch(
    spec: AugmentSpec, count: int, seed: int, epoch: int, device: torch.device, image_size: int
) -> EpochDraws:
    """The draws of `epoch` for a split of `count` images of `image_size` pixels a side."""
    # Drawn on the CPU: a seed then means the same on every device. What is new comes last, so that older runs resume.
    generator = _generator(seed, epoch)
    order = torch.randperm(count, generator=generator)
    flip = _draw_flip(spec, count, seed, epoch, generator) if spec.flip else None
    shift = torch.randint(-spec.crop, spec.crop + 1, (count, 2), generator=generator) if spec.crop else None
    trivial = draw_trivial(count, generator) if spec.trivial else None
    cutout = torch.randint(image_size, (count, 2), generator=generator) if spec.cutout else None
    share = pasted = centre = None
    if spec.mixup:
        beta = np.random.default_rng((seed, epoch, 0))
        share = torch.from_numpy(beta.beta(spec.mixup, spec.mixup, count)).float()
    if spec.cutmix:
        beta = np.random.default_rng((seed, epoch, 1))
        drawn = torch.from_numpy(beta.beta(spec.cutmix, spec.cutmix, count)).float()
        centre = torch.rand((count, 2), generator=generator)
        pasted = torch.ones(count, dtype=torch.bool)
        if share is not None:
            pasted = torch.rand(count, generator=generator) < 0.5
            drawn = torch.where(pasted, drawn, share)
        share = drawn
    optional = (flip, shift, trivial, cutout, share, pasted, centre)
    return EpochDraws(order.to(device), *(None if values is None else values.to(device) for values in optional))


def _generator(seed: int, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)


def _draw_flip(spec: AugmentSpec, count: int, seed: int, epoch: int, generator: torch.Generator) -> Tensor:
    if not spec.alternating:
        return torch.rand(count, generator=generator) < 0.5
    # Each image is seen both ways in any two epochs (Jordan 2024, "94% on CIFAR-10 in 3.29 seconds", section 3.6).
    first = torch.rand(count, generator=_generator(seed, -1)) < 0.5
    return first ^ bool(epoch % 2)


def place(
    spec: AugmentSpec, images: Tensor, rows: Tensor, draws: EpochDraws, chosen: Tensor, *, fill: Tensor
) -> Tensor:
    """Take `rows` of `images` (uint8 N×H×W×3), augmented one by one: uint8 B×H×W×3.

    `chosen` int64 (B,) are the samples' positions in the split. `fill` uint8 (3,) is what zero padding, cutout and
    TrivialAugment show where there is no image: the data set's mean, which is about 0 once normalised.
    """
    taken = _crop_and_flip(spec, images, rows, draws, chosen, fill)
    if draws.trivial is not None:
        taken = trivial_augment(taken, draws.trivial[chosen], fill)
    if draws.cutout is not None:
        # DeVries & Taylor 2017: the centre lies anywhere, so that the square may lie partly outside.
        top_left = draws.cutout[chosen] - spec.cutout // 2
        blank = _box(top_left, top_left + spec.cutout, taken.shape[1], taken.shape[2])
        taken = torch.where(blank[..., None], fill, taken)
    return taken


def _crop_and_flip(
    spec: AugmentSpec, images: Tensor, rows: Tensor, draws: EpochDraws, chosen: Tensor, fill: Tensor
) -> Tensor:
    """One read does it all. Padding is index arithmetic here: nothing is padded in memory."""
    if draws.flip is None and draws.shift is None:
        return images.index_select(0, rows)
    height, width = images.shape[1:3]
    ys = torch.arange(height, device=images.device).expand(len(rows), height)
    xs = torch.arange(width, device=images.device).expand(len(rows), width)
    if draws.shift is not None:
        shift = draws.shift[chosen]
        ys, xs = ys + shift[:, :1], xs + shift[:, 1:]
    if draws.flip is not None:
        xs = torch.where(draws.flip[chosen][:, None], width - 1 - xs, xs)
    if spec.padding == "reflect":
        return read_pixels(images, rows, _reflect(ys, height)[:, :, None], _reflect(xs, width)[:, None])
    taken = read_pixels(images, rows, ys.clamp(0, height - 1)[:, :, None], xs.clamp(0, width - 1)[:, None])
    if draws.shift is None:
        return taken
    inside = ((ys >= 0) & (ys < height))[:, :, None] & ((xs >= 0) & (xs < width))[:, None]
    return torch.where(inside[..., None], taken, fill)


def _reflect(index: Tensor, size: int) -> Tensor:
    return (size - 1) - ((size - 1) - index.abs()).abs()


def _box(top_left: Tensor, bottom_right: Tensor, height: int, width: int) -> Tensor:
    """Where one box a sample lies, bool B×height×width.

    Corners are int64 (B, 2), those at the bottom right exclusive, and may lie outside.
    """
    ys = torch.arange(height, device=top_left.device)
    xs = torch.arange(width, device=top_left.device)
    in_rows = (ys >= top_left[:, :1]) & (ys < bottom_right[:, :1])
    in_columns = (xs >= top_left[:, 1:]) & (xs < bottom_right[:, 1:])
    return in_rows[:, :, None] & in_columns[:, None]


def mix(spec: AugmentSpec, images: Tensor, labels: Tensor, draws: EpochDraws, chosen: Tensor) -> Mixed | None:
    """Blend each of `images` (normalised float B×3×H×W) with the one before it in the batch, or paste a box of that.

    None if neither mixup (Zhang et al. 2018) nor cutmix (Yun et al. 2019) is on. Memory format is kept.
    """
    if not (spec.mixup or spec.cutmix) or draws.share is None:
        return None
    weight = draws.share[chosen]
    own = weight[:, None, None, None]
    if draws.pasted is not None and draws.centre is not None:
        pasted = draws.pasted[chosen]
        outside = ~_cutmix_box(draws.centre[chosen], weight, images.shape[2], images.shape[3])
        # Counted in whole pixels: the box is clipped at the edges, and so smaller than drawn.
        weight = torch.where(pasted, outside.flatten(1).sum(1) / outside[0].numel(), weight)
        own = torch.where(pasted[:, None, None, None], outside[:, None], own)
    partners = torch.cat([images[-1:], images[:-1]])  # Tensor.roll would lose channels_last
    return Mixed(partners.lerp(images, own.to(images.dtype)), labels.roll(1), weight)


def _cutmix_box(centre: Tensor, share: Tensor, height: int, width: int) -> Tensor:
    half = (1 - share).sqrt() / 2
    middles = torch.stack([centre[:, 0] * height, centre[:, 1] * width], dim=1).long()
    halves = torch.stack([half * height, half * width], dim=1).long()
    return _box(middles - halves, middles + halves, height, width)
