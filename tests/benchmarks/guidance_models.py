"""Networks that are badly initialized on purpose."""

from __future__ import annotations

import torch
from torch import nn


def make_dead_relu(num_classes: int, image_size: int) -> nn.Module:
    """A network whose second hidden layer is nearly always negative: its biases are far below its inputs."""
    model = _plain(num_classes, image_size)
    torch.nn.init.constant_(model.get_parameter("5.bias"), -3.0)
    return model


def make_large_head(num_classes: int, image_size: int) -> nn.Module:
    """A network whose last layer is initialized 300 times too large."""
    model = _plain(num_classes, image_size)
    with torch.no_grad():
        model.get_parameter("7.weight").mul_(300)
    return model


def _plain(num_classes: int, image_size: int) -> nn.Sequential:
    side = image_size // 4
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.ReLU(), nn.Flatten(),
        nn.Linear(24 * side * side, 128), nn.ReLU(), nn.Linear(128, num_classes),
    )  # fmt: skip
