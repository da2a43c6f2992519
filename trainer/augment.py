"""Random order and augmentation, drawn a whole epoch at a time so that a resumed run draws the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.spec import AugmentSpec
from trainer.trivial_augment import draw_trivial, trivial_augment


@dataclass(frozen=True)
class EpochDraws:
    """Draws of one epoch, indexed by position in the split; None for what is off.

    `order` int64 (n,), `flip` bool (n,), `shift` int64 (n, 2) of rows and columns, `trivial` int64 (n, 3), `hole` int64
    (n, 2) the centre of the cutout, `blend` float32 (n,) the share of the own image, `box` float32 (n, 2) the centre of
    the pasted box as shares of the sides, `pastes` bool (n,) cutmix rather than mixup.
    """

    order: Tensor
    flip: Tensor | None = None
    shift: Tensor | None = None
    trivial: Tensor | None = None
    hole: Tensor | None = None
    blend: Tensor | None = None
    box: Tensor | None = None
    pastes: Tensor | None = None


@dataclass(frozen=True)
class Mixed:
    """`images` float B×3×H×W with another image in each, whose labels are `other_labels` int64 (B,); `weight` float32
    (B,) is the own label's share."""

    images: Tensor
    other_labels: Tensor
    weight: Tensor


def draw_epoch(
    spec: AugmentSpec, count: int, seed: int, epoch: int, device: torch.device, image_size: int
) -> EpochDraws:
    # Drawn on the CPU: a seed then means the same order on every device.
    key = (seed * 1_000_003 + epoch) % 2**63
    generator = torch.Generator().manual_seed(key)
    draws: dict[str, Tensor] = {"order": torch.randperm(count, generator=generator)}
    if spec.flip:
        draws["flip"] = torch.rand(count, generator=generator) < 0.5
    if spec.crop:
        draws["shift"] = torch.randint(-spec.crop, spec.crop + 1, (count, 2), generator=generator)
    if spec.alternating:
        # Each image is seen both ways in any two epochs (K. Jordan, "94% on CIFAR-10 in 3.29 seconds", 2024).
        first = torch.rand(count, generator=torch.Generator().manual_seed(seed % 2**63)) < 0.5
        draws["flip"] = first ^ bool(epoch % 2)
    if spec.trivial:
        draws["trivial"] = draw_trivial(count, generator)
    if spec.cutout:
        draws["hole"] = torch.randint(0, image_size, (count, 2), generator=generator)
    if spec.mixup or spec.cutmix:
        draws |= _draw_mix(spec, count, key)
    return EpochDraws(**{name: value.to(device) for name, value in draws.items()})


def _draw_mix(spec: AugmentSpec, count: int, key: int) -> dict[str, Tensor]:
    rng = np.random.default_rng(key)
    pastes = rng.random(count) < 0.5 if spec.mixup and spec.cutmix else np.full(count, bool(spec.cutmix))
    blends = [rng.beta(alpha, alpha, count) if alpha else np.ones(count) for alpha in (spec.mixup, spec.cutmix)]
    return {
        "blend": torch.from_numpy(np.where(pastes, blends[1], blends[0])).float(),
        "box": torch.from_numpy(rng.random((count, 2))).float(),
        "pastes": torch.from_numpy(pastes),
    }


def place(
    spec: AugmentSpec, images: Tensor, rows: Tensor, draws: EpochDraws, chosen: Tensor, *, fill: Tensor
) -> Tensor:
    """Take `rows` of `images` (uint8 N×H×W×3) as the samples `chosen` of the epoch, augmented; uint8 B×H×W×3.

    `fill` uint8 (3,) shows where a crop with zero padding, or a cutout, leaves nothing of the image.
    """
    batch = gather(
        images,
        rows,
        None if draws.flip is None else draws.flip[chosen],
        None if draws.shift is None else draws.shift[chosen],
        fill=fill if spec.padding == "zero" else None,
    )
    if draws.trivial is not None:
        batch = trivial_augment(batch, draws.trivial[chosen], fill)
    if draws.hole is not None:
        side = torch.arange(batch.shape[1], device=batch.device)
        low = draws.hole[chosen] - spec.cutout // 2
        inside = (side >= low[..., None]) & (side < low[..., None] + spec.cutout)
        batch = torch.where((inside[:, 0, :, None] & inside[:, 1, None, :])[..., None], fill, batch)
    return batch


def gather(
    images: Tensor, rows: Tensor, flip: Tensor | None, shift: Tensor | None, *, fill: Tensor | None = None
) -> Tensor:
    """Take `rows` of `images` (uint8 N×H×W×3), cropped and flipped in the same single read.

    Padding is index arithmetic here, nothing is padded in memory: reflected, or `fill` uint8 (3,) where given.
    """
    if flip is None and shift is None:
        return images.index_select(0, rows)
    height, width = images.shape[1:3]
    ys = torch.arange(height, device=images.device).expand(len(rows), height)
    xs = torch.arange(width, device=images.device).expand(len(rows), width)
    beyond = None
    if shift is not None:
        ys, xs = ys + shift[:, :1], xs + shift[:, 1:]
        if fill is not None:
            beyond = ((ys < 0) | (ys >= height))[:, :, None] | ((xs < 0) | (xs >= width))[:, None, :]
        ys, xs = _reflect(ys, height), _reflect(xs, width)
    if flip is not None:
        xs = torch.where(flip[:, None], width - 1 - xs, xs)
    taken = images[rows[:, None, None], ys[:, :, None], xs[:, None, :]]
    return taken if beyond is None or fill is None else torch.where(beyond[..., None], fill, taken)


def mix(spec: AugmentSpec, images: Tensor, labels: Tensor, draws: EpochDraws, chosen: Tensor) -> Mixed | None:
    """Mixup and cutmix of normalised images B×3×H×W with the batch rolled by one; None where both are off."""
    if draws.blend is None or draws.box is None or draws.pastes is None:
        return None
    height, width = images.shape[-2:]
    blend, pastes = draws.blend[chosen], draws.pastes[chosen]
    others = images.roll(1, 0)
    # cutmix (Yun et al., 2019): a box with the share 1 − blend of the area, cut off at the edges.
    sides = torch.tensor([height, width], device=images.device)
    centre = draws.box[chosen] * sides
    half = (1 - blend).sqrt()[:, None] * sides / 2
    low, high = (centre - half).round().clamp(min=0), torch.minimum((centre + half).round(), sides)
    ys, xs = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    rows = (ys >= low[:, :1]) & (ys < high[:, :1])
    columns = (xs >= low[:, 1:]) & (xs < high[:, 1:])
    pasted = (rows[:, :, None] & columns[:, None, :])[:, None]
    area = pasted.float().mean((1, 2, 3))
    weight = torch.where(pastes, 1 - area, blend)
    blended = torch.lerp(others, images, blend[:, None, None, None])  # mixup (Zhang et al., 2017)
    mixed = torch.where(pastes[:, None, None, None], torch.where(pasted, others, images), blended)
    return Mixed(mixed, labels.roll(1, 0), weight)


def resize(images: Tensor, size: int) -> Tensor:
    """float B×3×H×W to B×3×size×size, bilinear and antialiased; channels_last stays."""
    if images.shape[-1] == size:
        return images
    resized = F.interpolate(images, (size, size), mode="bilinear", antialias=True)
    return resized.contiguous(memory_format=torch.channels_last)


def _reflect(index: Tensor, size: int) -> Tensor:
    return (size - 1) - ((size - 1) - index.abs()).abs()
