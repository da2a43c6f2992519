"""Random rotation of a batch around the images' centers, with bilinear interpolation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def draw_turns(count: int, degrees: float, generator: torch.Generator) -> Tensor:
    """Draw an angle per image from -degrees to degrees, counterclockwise: its cosine and sine, float32 (count, 2)."""
    angles = ((2 * torch.rand(count, generator=generator, dtype=torch.float64) - 1) * degrees).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1).float()


def rotate(images: Tensor, turns: Tensor, fill: Tensor) -> Tensor:
    """Rotate `images` (uint8 B×H×W×3) by `turns` (float32 (B, 2)). `fill` uint8 (3,) is the color beyond the edges."""
    height, width = images.shape[1:3]
    cos, sin = turns[:, 0, None, None], turns[:, 1, None, None]
    ys = torch.arange(height, device=images.device)[:, None] - (height - 1) / 2
    xs = torch.arange(width, device=images.device) - (width - 1) / 2
    # Pixels are read from here, from -1 to 1 over the image.
    grid = torch.stack([(cos * xs - sin * ys) * (2 / width), (sin * xs + cos * ys) * (2 / height)], dim=3)
    background = fill.float()[:, None, None]
    levels = images.permute(0, 3, 1, 2).float() - background  # beyond the edges is 0
    levels = F.grid_sample(levels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return (levels + background).round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
