"""Reading single pixels of uint8 N×H×W×3 images."""

from __future__ import annotations

from torch import Tensor


def read_pixels(images: Tensor, rows: Tensor, ys: Tensor, xs: Tensor) -> Tensor:
    """`images[rows, ys, xs]` of contiguous uint8 N×H×W×3 for int64 `rows` (B,): uint8 B×height×width×3.

    `ys` and `xs` are int64 and broadcast to B×height×width. On a CPU it takes a third of the time of advanced
    indexing.
    """
    height, width = images.shape[1:3]
    index = (rows[:, None, None] * height + ys) * width + xs
    return images.view(-1, 3).index_select(0, index.flatten()).view(*index.shape, 3)
