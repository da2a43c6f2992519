"""What enters the network: normalised floats at the right size."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.augment import resize
from trainer.data.resident import normalise


def network_input(images: Tensor, constants: tuple[Tensor, Tensor], size: int) -> Tensor:
    """uint8 B×H×W×3 to float32 B×3×size×size; features that are cached already (float B×F) go in as they are."""
    if images.dtype != torch.uint8:
        return images
    return resize(normalise(images, *constants), size)
