"""Wide residual networks: few layers, many channels, activation before convolution.

Source: Zagoruyko & Komodakis, "Wide Residual Networks" (2016).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from trainer.spec.model_spec import ModelSpec

BASE = 16
STAGES = 3


class WideBlock(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        same = stride == 1 and inputs == width
        self.shortcut = None if same else nn.Conv2d(inputs, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.norm1(x))
        body = self.conv2(self.dropout(F.relu(self.norm2(self.conv1(active)))))
        result: Tensor = body + (x if self.shortcut is None else self.shortcut(active))
        return result


def make_wide_resnet(spec: ModelSpec, num_classes: int, _image_size: int) -> nn.Module:
    """`spec.name` is "wrn-<depth>-<factor>": (depth − 4) / 6 blocks per stage."""
    depth, factor = map(int, spec.name.split("-")[1:])
    widths = spec.widths or tuple(BASE * 2**stage * factor for stage in range(STAGES))
    if len(widths) != STAGES:
        raise ValueError(f"model.widths: {spec.name} has {STAGES} stages, not {len(widths)}")
    layers: list[nn.Module] = [nn.Conv2d(3, BASE, 3, padding=1, bias=False)]
    inputs = BASE
    for stage, width in enumerate(widths):
        for number in range((depth - 4) // 6):
            layers.append(WideBlock(inputs, width, 2 if stage and not number else 1, spec.dropout))
            inputs = width
    layers += [nn.BatchNorm2d(inputs), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, num_classes)]
    model = nn.Sequential(*layers)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model
