"""The small CNN of agastyapatri/CIFAR-100.

5×5 convolutions, each followed by ReLU and BatchNorm, one max-pooling layer and four linear layers.
"""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from trainer.spec.model_spec import ModelSpec

CHANNELS = (12, 24, 32)
HIDDEN = (576, 288, 144)
KERNEL = 5
POOL = 3


def make_cnn(spec: ModelSpec, num_classes: int, image_size: int) -> nn.Module:
    channels = (3, *(spec.widths or CHANNELS))
    side = (image_size - (KERNEL - 1) * (len(channels) - 1)) // POOL
    if side < 1:
        raise ValueError(f"cnn with {len(channels) - 1} convolutions needs larger images than {image_size} px")
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(channels):
        layers += [nn.Conv2d(inputs, outputs, KERNEL), nn.ReLU(), nn.BatchNorm2d(outputs)]
    layers += [nn.MaxPool2d(POOL), nn.Flatten()]
    for inputs, outputs in pairwise((channels[-1] * side * side, *HIDDEN)):
        if spec.dropout:
            layers.append(nn.Dropout(spec.dropout))
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    layers.append(nn.Linear(HIDDEN[-1], num_classes))
    if spec.final_relu:
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)
