"""Random order and augmentation, drawn a whole epoch at a time so that a resumed run draws the same."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.spec import AugmentSpec


@dataclass(frozen=True)
class EpochDraws:
    """Draws of one epoch, indexed by position in the split.

    `order` int64 (n,), `flip` bool (n,) or None, `shift` int64 (n, 2) of rows and columns or None.
    """

    order: Tensor
    flip: Tensor | None
    shift: Tensor | None


@dataclass(frozen=True)
class Mixed:
    images: Tensor
    other_labels: Tensor
    weight: Tensor


def draw_epoch(
    spec: AugmentSpec, count: int, seed: int, epoch: int, device: torch.device, image_size: int
) -> EpochDraws:
    # Drawn on the CPU: a seed then means the same order on every device.
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    order = torch.randperm(count, generator=generator)
    flip = torch.rand(count, generator=generator) < 0.5 if spec.flip else None
    if spec.alternating:
        flip = (torch.rand(count, generator=torch.Generator().manual_seed(seed)) < 0.5) ^ bool(epoch % 2)
    shift = torch.randint(-spec.crop, spec.crop + 1, (count, 2), generator=generator) if spec.crop else None
    return EpochDraws(
        order.to(device),
        None if flip is None else flip.to(device),
        None if shift is None else shift.to(device),
    )


def gather(images: Tensor, rows: Tensor, flip: Tensor | None, shift: Tensor | None) -> Tensor:
    """Take `rows` of `images` (uint8 N×H×W×3), cropped and flipped in the same single read.

    Reflect-padding is index arithmetic here: nothing is padded in memory.
    """
    if flip is None and shift is None:
        return images.index_select(0, rows)
    height, width = images.shape[1:3]
    ys = torch.arange(height, device=images.device).expand(len(rows), height)
    xs = torch.arange(width, device=images.device).expand(len(rows), width)
    if shift is not None:
        ys = _reflect(ys + shift[:, :1], height)
        xs = _reflect(xs + shift[:, 1:], width)
    if flip is not None:
        xs = torch.where(flip[:, None], width - 1 - xs, xs)
    return images[rows[:, None, None], ys[:, :, None], xs[:, None, :]]


def _reflect(index: Tensor, size: int) -> Tensor:
    return (size - 1) - ((size - 1) - index.abs()).abs()


def place(spec, images, rows, draws, chosen, *, fill):  # type: ignore
    return gather(
        images,
        rows,
        None if draws.flip is None else draws.flip[chosen],
        None if draws.shift is None else draws.shift[chosen],
    )


def mix(spec, images, labels, draws, chosen):  # type: ignore
    return None


def resize(images: Tensor, size: int) -> Tensor:
    if images.shape[-1] == size:
        return images
    return torch.nn.functional.interpolate(images, (size, size), mode="bilinear", antialias=True)
