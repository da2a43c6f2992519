"""Exact duplicates among images, by a 64-bit digest of each."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK_BYTES = 4 << 20
WORD = 8  # bytes


def digests(images: Tensor) -> Tensor:
    """Return a digest per image, int64 (N,), of images uint8 N×H×W×3. Different images have different ones.

    The digest is a sum of products with random factors, modulo 2**64. The high half of each word is folded into the
    low one first: in a product, high bits do not reach low ones.
    """
    size = images[:1].numel()
    whole = size // WORD * WORD
    random = torch.Generator().manual_seed(0)
    factors = torch.randint(-(2**63), 2**63 - 1, (size // WORD + size % WORD,), generator=random).to(images.device) | 1
    parts = []
    for block in torch.split(images, max(1, BLOCK_BYTES // max(1, size))):
        flat = block.reshape(len(block), -1)
        words = flat[:, :whole].contiguous().view(torch.int64)
        digest = ((words ^ (words >> 32)) * factors[: words.shape[1]]).sum(1)
        if whole < size:
            digest += (flat[:, whole:].long() * factors[words.shape[1] :]).sum(1)
        parts.append(digest)
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64, device=images.device)
