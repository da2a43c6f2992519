"""Residual networks for small images.

Sources: He et al., "Deep Residual Learning" (2015), with a 3×3 stem and no pooling before the stages as in
weiaicunzai/pytorch-cifar100; ResNet-9 as in D. Page, "How to train your ResNet" (2018).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from trainer.spec.model_spec import ModelSpec

WIDTHS = (64, 128, 256, 512)
DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}
EXPANSION = 4
LOGIT_SCALE = 0.125


class BasicBlock(nn.Module):
    """Two 3×3 convolutions."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.outputs = width
        self.body = nn.Sequential(
            *normed_conv(inputs, width, 3, stride), nn.ReLU(inplace=True), *normed_conv(width, width, 3)
        )
        self.shortcut = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class Bottleneck(nn.Module):
    """1×1, 3×3 with the stride, 1×1 to four times the width."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.outputs = EXPANSION * width
        self.body = nn.Sequential(
            *normed_conv(inputs, width, 1),
            nn.ReLU(inplace=True),
            *normed_conv(width, width, 3, stride),
            nn.ReLU(inplace=True),
            *normed_conv(width, self.outputs, 1),
        )
        self.shortcut = _shortcut(inputs, self.outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_unit(width, width), _unit(width, width))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.body(x)
        return result


class Scaled(nn.Linear):
    """A linear layer whose logits are scaled down, so that the first predictions are nearly uniform."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * LOGIT_SCALE


def make_resnet(spec: ModelSpec, num_classes: int, _image_size: int) -> nn.Module:
    block = Bottleneck if spec.name == "resnet50" else BasicBlock
    widths = four_widths(spec)
    layers: list[nn.Module] = [*normed_conv(3, widths[0], 3), nn.ReLU(inplace=True)]
    inputs = widths[0]
    for stage, (width, depth) in enumerate(zip(widths, DEPTHS[spec.name], strict=True)):
        for number in range(depth):
            layers.append(block(inputs, width, 2 if stage and not number else 1))
            inputs = width * (EXPANSION if block is Bottleneck else 1)
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(spec.dropout), nn.Linear(inputs, num_classes)]
    return _initialized(nn.Sequential(*layers))


def make_resnet9(spec: ModelSpec, num_classes: int, _image_size: int) -> nn.Module:
    a, b, c, d = four_widths(spec)
    return _initialized(
        nn.Sequential(
            _unit(3, a),
            nn.Sequential(_unit(a, b), nn.MaxPool2d(2)),
            Residual(b),
            nn.Sequential(_unit(b, c), nn.MaxPool2d(2)),
            nn.Sequential(_unit(c, d), nn.MaxPool2d(2)),
            Residual(d),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
            nn.Dropout(spec.dropout),
            Scaled(d, num_classes, bias=False),
        )
    )


def four_widths(spec: ModelSpec) -> Sequence[int]:
    widths = spec.widths or WIDTHS
    if len(widths) != len(WIDTHS):
        raise ValueError(f"model.widths: {spec.name} has {len(WIDTHS)} stages, not {len(widths)}")
    return widths


def normed_conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return layer, nn.BatchNorm2d(outputs)


def _unit(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*normed_conv(inputs, outputs, 3), nn.ReLU(inplace=True))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(*normed_conv(inputs, outputs, 1, stride))


def _initialized(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model
