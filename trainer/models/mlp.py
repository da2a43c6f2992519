"""The multilayer perceptron of agastyapatri/CIFAR-100: three hidden layers with LeakyReLU."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from trainer.spec.model_spec import ModelSpec

WIDTHS = (1024, 512, 256)


def make_mlp(spec: ModelSpec, num_classes: int, image_size: int) -> nn.Module:
    widths = (3 * image_size * image_size, *(spec.widths or WIDTHS))
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU()]
        if spec.dropout:
            layers.append(nn.Dropout(spec.dropout))
    layers.append(nn.Linear(widths[-1], num_classes))
    if spec.final_relu:
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)
