"""Images per second of each augmentation, in batches, beside torchvision's transform of one image after the other.

Per second of processor time of one thread: other processes on the machine count for little.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from tests.benchmarks.rows import Row
from trainer.engine.augment import draw_epoch, place
from trainer.spec.augment_spec import AugmentSpec

BATCH = 128
ROUNDS = 5
SECONDS = 0.4  # per round
SIZES = (32, 128)


def cases(size: int) -> dict[str, tuple[dict[str, Any], Callable[[Tensor], Tensor]]]:
    """By name, our settings and torchvision's transform of a uint8 3×H×W image."""
    side = max(3, 2 * (size // 20) + 1)
    return {
        "resized crop": ({"resized_crop": 0.08}, v2.RandomResizedCrop(size, antialias=True)),
        "vertical flip": ({"vertical_flip": True}, v2.RandomVerticalFlip()),
        "rotation": ({"rotation": 15}, v2.RandomRotation(15, v2.InterpolationMode.BILINEAR)),
        "color jitter": (
            {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
            v2.ColorJitter(0.4, 0.4, 0.4, 0.1),
        ),
        "Gaussian blur": ({"blur": 0.5}, v2.RandomApply([v2.GaussianBlur(min(side, 13), (0.1, 2.0))], 0.5)),
        "RandAugment": ({"randaugment": 2}, v2.RandAugment(2, 9)),
        "TrivialAugment": ({"trivial": True}, v2.TrivialAugmentWide()),
    }


def measure() -> Iterator[Row]:
    torch.set_num_threads(1)
    for size in SIZES:
        images = torch.randint(0, 256, (512, size, size, 3), generator=torch.Generator().manual_seed(0)).byte()
        planar = images.permute(0, 3, 1, 2).contiguous()
        for name, (settings, transform) in cases(size).items():
            pairs = [(ours(settings, images), theirs(transform, planar)) for _ in range(ROUNDS)]
            own, other = (statistics.median(values) for values in zip(*pairs, strict=True))
            ratios = sorted(a / b for a, b in pairs)
            shown = f"{own:,.0f} images/s, torchvision {other:,.0f}: {statistics.median(ratios):.1f}×"
            spread = f" (median of {ROUNDS}; {ratios[0]:.1f} to {ratios[-1]:.1f})"
            yield Row(f"augmentation: {name}, {size} px, batches of {BATCH}, one core", "", shown + spread, None)


def ours(settings: dict[str, Any], images: Tensor) -> float:
    spec, count, size = AugmentSpec(**settings), len(images), images.shape[1]
    draws = draw_epoch(spec, count, 0, 0, torch.device("cpu"), size, size)
    fill = torch.tensor([128, 128, 128], dtype=torch.uint8)

    def batch(number: int) -> None:
        chosen = torch.arange(BATCH) + BATCH * (number % (count // BATCH))
        place(spec, images, chosen, draws, chosen, fill=fill, size=size)

    return BATCH * speed(batch)


def theirs(transform: Callable[[Tensor], Tensor], images: Tensor) -> float:
    def one(number: int) -> None:
        transform(images[number % len(images)])

    return speed(one)


def speed(work: Callable[[int], None]) -> float:
    """Calls per second of processor time."""
    work(0)
    began, calls = time.process_time(), 0
    while time.process_time() - began < SECONDS:
        calls += 1
        work(calls)
    return calls / (time.process_time() - began)
