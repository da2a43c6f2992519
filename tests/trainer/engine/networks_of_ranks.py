"""Users' networks for runs on several devices."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def without_norm(num_classes: int, image_size: int) -> nn.Module:
    """Convolutions and linear layers: what is computed from an image depends on no other image."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.GELU(), nn.Conv2d(8, 16, 3, stride=2), nn.GELU(),
        nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(144, 64), nn.GELU(), nn.Linear(64, num_classes),
    )  # fmt: skip


class _FailsOnRank(nn.Module):
    """Raises an error in training on every rank but the first, from the third step on."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def forward(self, x: Tensor) -> Tensor:
        self.steps += self.training
        if torch.distributed.is_initialized() and torch.distributed.get_rank() and self.steps > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return x


def out_of_memory_on_another_rank(num_classes: int, image_size: int) -> nn.Module:
    return nn.Sequential(_FailsOnRank(), *without_norm(num_classes, image_size).children())
