"""A network on which the GPU fails once: every later operation of that process raises the same error."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn

VARIABLE = "TRACKSIDE_TEST_GPU_FAILS"  # a file that is there as long as the GPU has not failed


class Failing(nn.Module):
    def __init__(self, num_classes: int, image_size: int) -> None:
        super().__init__()
        self.head = nn.Linear(3 * image_size**2, num_classes)
        self.failed = False

    def forward(self, x: Tensor) -> Tensor:
        flag = Path(os.environ.get(VARIABLE, "/nonexistent"))
        if self.failed or flag.exists():
            self.failed = True
            flag.unlink(missing_ok=True)
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        logits: Tensor = self.head(x.flatten(1))
        return logits


def make(num_classes: int, image_size: int) -> nn.Module:
    return Failing(num_classes, image_size)
