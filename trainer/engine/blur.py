"""Gaussian blur of a random share of a batch, with a random width for each image."""

from __future__ import annotations

import torch
from torch import Tensor

SIGMA = (0.1, 2.0)  # pixels, as in torchvision and SimCLR (Chen et al. 2020)
LARGEST_RADIUS = 6  # pixels: three times the largest sigma


def blur_radius(size: int) -> int:
    """Radius in pixels of the kernel for images of `size` × `size` pixels: its side is about a tenth of theirs."""
    return min(max(1, size // 20), LARGEST_RADIUS)


def draw_kernels(count: int, share: float, size: int, generator: torch.Generator) -> Tensor:
    """Draw a kernel per image, float32 (count, radius + 1): its weights from the center on.

    That of an image that is not blurred is 1, 0, …
    """
    chosen = torch.rand(count, generator=generator) < share
    low, high = SIGMA
    sigma = low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)
    distances = torch.arange(blur_radius(size) + 1)
    weights = (-0.5 * (distances / sigma[:, None]) ** 2).exp()
    weights /= 2 * weights.sum(1, keepdim=True) - weights[:, :1]
    weights[~chosen] = (distances == 0).double()
    return weights.float()


def blur(images: Tensor, kernels: Tensor, known: Tensor) -> Tensor:
    """Blur `images` (uint8 B×H×W×3) by `kernels` (float32 (B, radius + 1)), of which `known` are a copy on the CPU.

    Beyond the edges lies the mirror image, without the edge itself.
    """
    blurred = (known[:, 1] > 0).nonzero()[:, 0].to(images.device, non_blocking=True)
    weights = kernels[blurred]
    # Rows of pixels, then pixels of a row: the values of a pixel lie side by side.
    levels = _along(images[blurred].float(), weights, 1)
    levels = _along(levels, weights, 2)
    result = images.clone(memory_format=torch.contiguous_format)
    result[blurred] = levels.round_().to(torch.uint8)
    return result


def _along(levels: Tensor, weights: Tensor, dim: int) -> Tensor:
    size, radius = levels.shape[dim], weights.shape[1] - 1
    index = torch.arange(-radius, size + radius, device=levels.device).abs()
    padded = levels.index_select(dim, (size - 1) - (size - 1 - index).abs())
    result = padded.narrow(dim, radius, size) * weights[:, 0, None, None, None]
    for distance in range(1, radius + 1):
        both = padded.narrow(dim, radius - distance, size) + padded.narrow(dim, radius + distance, size)
        result += both * weights[:, distance, None, None, None]
    return result
