"""Random order and augmentation, drawn for a whole epoch at once so that a resumed run draws the same values."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from trainer.engine.blur import blur, draw_kernels
from trainer.engine.color_jitter import draw_jitter, jitter
from trainer.engine.pixels import read_pixels
from trainer.engine.resized_crop import draw_boxes, resized_crop
from trainer.engine.rotation import draw_turns, rotate
from trainer.engine.trivial_augment import RANDAUGMENT, draw_randaugment, draw_trivial, trivial_augment
from trainer.spec.augment_spec import AugmentSpec


@dataclass(frozen=True)
class EpochDraws:
    """Random values of one epoch, indexed by position in the split; None where the spec does not use them.

    `drawn` are the same values on the CPU, on which they were drawn; None if they are on the CPU.

    `order` int64 (n,); `flip` bool (n,); `shift` int64 (n, 2) of rows and columns in pixels; `trivial` int64 (n, 3),
    see `draw_trivial`; `cutout` int64 (n, 2), the square's center in pixels; `box` int64 (n, 4), see `draw_boxes`;
    `inverted` bool (n,), the vertical flip; `turn` float32 (n, 2), see `draw_turns`; `operations` int64 (n, number, 3),
    see `draw_randaugment`; `colors` float32 (n, 4), see `draw_jitter`; `kernel` float32 (n, radius + 1), see
    `draw_kernels`.

    For mixup and cutmix: `share` float32 (n,), the Beta draw; `pasted` bool (n,), which samples use cutmix; `center`
    float32 (n, 2), the box's center as a share of height and width.
    """

    order: Tensor
    flip: Tensor | None = None
    shift: Tensor | None = None
    trivial: Tensor | None = None
    cutout: Tensor | None = None
    share: Tensor | None = None
    pasted: Tensor | None = None
    center: Tensor | None = None
    box: Tensor | None = None
    inverted: Tensor | None = None
    turn: Tensor | None = None
    operations: Tensor | None = None
    colors: Tensor | None = None
    kernel: Tensor | None = None
    drawn: EpochDraws | None = None

    @property
    def on_cpu(self) -> EpochDraws:
        return self if self.drawn is None else self.drawn

    def to(self, device: torch.device) -> EpochDraws:
        if device.type == "cpu":
            return self
        tensors = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **tensors, drawn=self)


@dataclass(frozen=True)
class Mixed:
    """`images` float B×3×H×W, `other_labels` int64 (B,), `weight` float32 (B,): the share of a sample's own label.

    `other_image_weights` float32 (B,) is what the images count that were mixed in; None takes, for each image of the
    batch, that of the previous one.
    """

    images: Tensor
    other_labels: Tensor
    weight: Tensor
    other_image_weights: Tensor | None = None


def draw_epoch(
    spec: AugmentSpec, count: int, seed: int, epoch: int, device: torch.device, image_size: int, network_size: int
) -> EpochDraws:
    """Draw the random values of `epoch` for a split of `count` images of `image_size` × `image_size` pixels.

    `network_size` is the side of the network's input.
    """
    placed = spec.placed_size(image_size, network_size)
    # Drawn on the CPU, so that a seed gives the same values on every device. New draws go last: older runs can resume.
    generator = _generator(seed, epoch)
    order = torch.randperm(count, generator=generator)
    flip = _draw_flip(spec, count, seed, epoch, generator) if spec.flip else None
    shift = torch.randint(-spec.crop, spec.crop + 1, (count, 2), generator=generator) if spec.crop else None
    trivial = draw_trivial(count, generator) if spec.trivial else None
    cutout = torch.randint(placed, (count, 2), generator=generator) if spec.cutout else None
    share = pasted = center = None
    if spec.mixup:
        beta = np.random.default_rng((seed, epoch, 0))
        share = torch.from_numpy(beta.beta(spec.mixup, spec.mixup, count)).float()
    if spec.cutmix:
        beta = np.random.default_rng((seed, epoch, 1))
        drawn = torch.from_numpy(beta.beta(spec.cutmix, spec.cutmix, count)).float()
        center = torch.rand((count, 2), generator=generator)
        pasted = torch.ones(count, dtype=torch.bool)
        if share is not None:
            pasted = torch.rand(count, generator=generator) < 0.5
            drawn = torch.where(pasted, drawn, share)
        share = drawn
    box = draw_boxes(count, image_size, spec.resized_crop, generator) if spec.resized_crop else None
    inverted = torch.rand(count, generator=generator) < 0.5 if spec.vertical_flip else None
    turn = draw_turns(count, spec.rotation, generator) if spec.rotation else None
    operations = None
    if spec.randaugment:
        operations = draw_randaugment(count, spec.randaugment, spec.randaugment_magnitude, generator)
    colors = draw_jitter(spec, count, generator) if spec.jitters else None
    kernel = draw_kernels(count, spec.blur, placed, generator) if spec.blur else None
    drawn_now = EpochDraws(
        order, flip, shift, trivial, cutout, share, pasted, center, box, inverted, turn, operations, colors, kernel
    )
    return drawn_now.to(device)


def _generator(seed: int, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)


def _draw_flip(spec: AugmentSpec, count: int, seed: int, epoch: int, generator: torch.Generator) -> Tensor:
    if not spec.alternating:
        return torch.rand(count, generator=generator) < 0.5
    # Each image is shown in both orientations in any two epochs (Jordan 2024, "94% on CIFAR-10 in 3.29 seconds", 3.6).
    first = torch.rand(count, generator=_generator(seed, -1)) < 0.5
    return first ^ bool(epoch % 2)


def place(
    spec: AugmentSpec,
    images: Tensor,
    rows: Tensor,
    draws: EpochDraws,
    chosen: Tensor,
    *,
    fill: Tensor,
    size: int,
    drawn: Tensor | None = None,
) -> Tensor:
    """Return `rows` of `images` (uint8 N×H×W×3), each augmented on its own: uint8 B×H×W×3.

    `chosen` int64 (B,) are the samples' positions in the split, and `drawn` the same on the CPU: without them, this
    waits for the device. `fill` uint8 (3,) is the color of zero padding, cutout and pixels from outside the image: the
    dataset's mean, which is about 0 after normalization. `size` is the side of the network's input: resized crops have
    it, other images keep theirs.
    """
    known = chosen.cpu() if drawn is None else drawn
    if draws.box is not None:
        mirrored = None if draws.flip is None else draws.flip[chosen]
        inverted = None if draws.inverted is None else draws.inverted[chosen]
        taken = resized_crop(images, rows, draws.box[chosen], size, mirrored, inverted)
    else:
        taken = _crop_and_flip(spec, images, rows, draws, chosen, fill)
    if draws.turn is not None:
        taken = rotate(taken, draws.turn[chosen], fill)
    if draws.trivial is not None and draws.on_cpu.trivial is not None:
        taken = trivial_augment(taken, draws.trivial[chosen], fill, draws.on_cpu.trivial[known])
    if draws.operations is not None and draws.on_cpu.operations is not None:
        each = zip(draws.operations[chosen].unbind(1), draws.on_cpu.operations[known].unbind(1), strict=True)
        for operation, on_cpu in each:
            taken = trivial_augment(taken, operation, fill, on_cpu, RANDAUGMENT)
    if draws.colors is not None:
        taken = jitter(spec, taken, draws.colors[chosen])
    if draws.kernel is not None and draws.on_cpu.kernel is not None:
        taken = blur(taken, draws.kernel[chosen], draws.on_cpu.kernel[known])
    if draws.cutout is not None:
        # DeVries & Taylor 2017: the center lies anywhere in the image, so that the square may lie partly outside.
        top_left = draws.cutout[chosen] - spec.cutout // 2
        blank = _box(top_left, top_left + spec.cutout, taken.shape[1], taken.shape[2])
        taken = torch.where(blank[..., None], fill, taken)
    return taken


def _crop_and_flip(
    spec: AugmentSpec, images: Tensor, rows: Tensor, draws: EpochDraws, chosen: Tensor, fill: Tensor
) -> Tensor:
    """Crop and flip in one indexed read. Padding is index arithmetic, so that no padded copy is made."""
    if draws.flip is None and draws.shift is None and draws.inverted is None:
        return images.index_select(0, rows)
    height, width = images.shape[1:3]
    ys = torch.arange(height, device=images.device).expand(len(rows), height)
    xs = torch.arange(width, device=images.device).expand(len(rows), width)
    if draws.shift is not None:
        shift = draws.shift[chosen]
        ys, xs = ys + shift[:, :1], xs + shift[:, 1:]
    if draws.flip is not None:
        xs = torch.where(draws.flip[chosen][:, None], width - 1 - xs, xs)
    if draws.inverted is not None:
        ys = torch.where(draws.inverted[chosen][:, None], height - 1 - ys, ys)
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
    """Return the mask of one box per sample, bool B×height×width.

    Corners are int64 (B, 2) of row and column; the bottom right one is exclusive. They may lie outside the image.
    """
    ys = torch.arange(height, device=top_left.device)
    xs = torch.arange(width, device=top_left.device)
    in_rows = (ys >= top_left[:, :1]) & (ys < bottom_right[:, :1])
    in_columns = (xs >= top_left[:, 1:]) & (xs < bottom_right[:, 1:])
    return in_rows[:, :, None] & in_columns[:, None]


def mix(spec: AugmentSpec, images: Tensor, labels: Tensor, draws: EpochDraws, chosen: Tensor) -> Mixed | None:
    """Blend each of `images` (normalized float B×3×H×W) with the previous one in the batch, or paste a box of that.

    Returns None if neither mixup (Zhang et al. 2018) nor cutmix (Yun et al. 2019) is on. Keeps the memory format.
    """
    if not (spec.mixup or spec.cutmix) or draws.share is None:
        return None
    weight = draws.share[chosen]
    own = weight[:, None, None, None]
    if draws.pasted is not None and draws.center is not None:
        pasted = draws.pasted[chosen]
        outside = ~_cutmix_box(draws.center[chosen], weight, images.shape[2], images.shape[3])
        # Counted in pixels: the box may be smaller than drawn, as it is clipped at the edges.
        weight = torch.where(pasted, outside.flatten(1).sum(1) / outside[0].numel(), weight)
        own = torch.where(pasted[:, None, None, None], outside[:, None], own)
    partners = torch.cat([images[-1:], images[:-1]])  # Tensor.roll does not keep channels_last
    return Mixed(partners.lerp(images, own.to(images.dtype)), labels.roll(1), weight)


def _cutmix_box(center: Tensor, share: Tensor, height: int, width: int) -> Tensor:
    half = (1 - share).sqrt() / 2
    centers = torch.stack([center[:, 0] * height, center[:, 1] * width], dim=1).long()
    halves = torch.stack([half * height, half * width], dim=1).long()
    return _box(centers - halves, centers + halves, height, width)
