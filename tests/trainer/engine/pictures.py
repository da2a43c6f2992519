"""Images to augment in tests."""

from __future__ import annotations

import torch
from torch import Tensor

FILL = torch.tensor([120, 110, 100], dtype=torch.uint8)


def smooth_images(count: int, size: int = 32) -> Tensor:
    """Smooth images, whose histograms have gaps, with noise of a few levels: uint8 count×size×size×3."""
    generator = torch.Generator().manual_seed(5)
    coarse = torch.rand(count, 3, 5, 5, generator=generator) * 200
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")
    noise = torch.randint(0, 9, smooth.shape, generator=generator)
    return (smooth + noise + 20).permute(0, 2, 3, 1).to(torch.uint8).contiguous()
