"""The project's own network, made for the highest accuracy per minute of training.

It has a whitening stem, three residual groups and a max-pooled head. The parts come from the CIFAR speedruns (D. Page,
"How to train your ResNet" 8; KellerJordan/cifar10-airbench): a frozen 2×2 stem that whitens patches, convolution before
pooling, filters initialized to the identity, and scaled-down logits.

On a CPU `compile` = "auto" leaves it uncompiled: in eager mode 84% of a step are convolutions, and compiling each of
the `quick` preset's three resolutions would cost one of its ten minutes.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.models.device import accumulator
from trainer.spec.model_spec import ModelSpec

WIDTHS = (48, 192, 192)
PATCH = 2
STEM = 2 * 3 * PATCH**2  # filters: each principal direction of a patch, and its negative
LOGIT_SCALE = 0.4
WHITENING_EPS = 5e-4
WHITENING_IMAGES = 5000
WHITENING_BYTES = 64 << 20  # of patches at a time; at 224 px whitening takes 310 MB in all


class Group(nn.Module):
    """A convolution with max pooling that halves height and width, then a residual convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = _convolution(inputs, outputs)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = _convolution(outputs, outputs)
        self.norm2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        return x + F.gelu(self.norm2(self.conv2(x)))


class Swift(nn.Module):
    def __init__(self, widths: tuple[int, ...], num_classes: int, dropout: float) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, STEM, PATCH)
        self.stem.weight.requires_grad_(False)
        nn.init.zeros_(_bias(self.stem))
        inputs = (STEM, *widths[:-1])
        self.groups = nn.Sequential(*(Group(i, o) for i, o in zip(inputs, widths, strict=True)))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(widths[-1], num_classes, bias=False)
        nn.init.normal_(self.head.weight, std=0.18 / widths[-1] ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.groups(F.gelu(self.stem(x)))
        # Not `amax`: compiled with bfloat16 its gradient is NaN. The backward pass divides by the number of elements
        # equal to the maximum, and the code of torch 2.14 compares a rounded maximum with unrounded elements.
        logits: Tensor = self.head(self.dropout(x.flatten(2).max(2).values))
        return logits * LOGIT_SCALE

    @torch.no_grad()
    def whiten(self, batches: Iterable[Tensor]) -> None:
        """Set the stem's filters so that its outputs over the patches of all images are uncorrelated.

        `batches`: normalized float N×3×H×W on the model's device, read one at a time; `whitening_batch` tells how large
        they may be.
        """
        device = self.stem.weight.device
        products = torch.zeros(3 * PATCH**2, 3 * PATCH**2, dtype=accumulator(device), device=device)
        count = 0
        for images in batches:
            patches = F.unfold(images, PATCH).transpose(1, 2).reshape(-1, 3 * PATCH**2)
            if device.type == "cuda":
                patches = patches.double()  # products of float32 may be rounded to TF32 there
            products += patches.T @ patches
            count += len(patches)
        values, vectors = torch.linalg.eigh((products / count).float().cpu())
        filters = (vectors / (values + WHITENING_EPS).sqrt()).T.reshape(-1, 3, PATCH, PATCH)
        self.stem.weight.copy_(torch.cat([filters, -filters]))


def whitening_batch(size: int) -> int:
    """The number of images of `size` × `size` whose patches fit into WHITENING_BYTES, at least one."""
    return max(1, WHITENING_BYTES // (4 * 3 * PATCH**2 * size**2))


def make_swift(spec: ModelSpec, num_classes: int, image_size: int) -> nn.Module:
    widths = spec.widths or WIDTHS
    side = (image_size - PATCH + 1) >> len(widths)
    if side < 1:
        raise ValueError(f"swift with {len(widths)} groups needs larger images than {image_size} px")
    return Swift(widths, num_classes, spec.dropout)


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.dirac_(layer.weight[: min(inputs, outputs)])
    return layer


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias
