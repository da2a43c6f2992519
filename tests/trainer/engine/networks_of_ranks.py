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


def _fail_in_compiled(x: Tensor, compiling: bool) -> Tensor:
    if compiling and torch.distributed.is_initialized() and torch.distributed.get_rank():
        raise RuntimeError("the forward pass does not compile here")
    return x


_fail_apart = torch.compiler.disable(_fail_in_compiled)  # type: ignore[no-untyped-call]


class _FailsToCompile(nn.Module):
    """A linear layer; it cannot be compiled on any rank but the first if `fails`."""

    def __init__(self, num_classes: int, image_size: int, *, fails: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * image_size**2, num_classes))
        self.fails = fails

    def forward(self, x: Tensor) -> Tensor:
        compiling = torch.compiler.is_compiling()
        logits: Tensor = self.layers(x)
        return _fail_apart(logits, compiling) if self.fails else logits


def linear(num_classes: int, image_size: int) -> nn.Module:
    return _FailsToCompile(num_classes, image_size, fails=False)


def not_compiled_on_another_rank(num_classes: int, image_size: int) -> nn.Module:
    return _FailsToCompile(num_classes, image_size, fails=True)
