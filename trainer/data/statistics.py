"""The mean and standard deviation that images are normalized with."""

import math

import numpy as np
import numpy.typing as npt

from trainer.data.format import Images, rows_within

_CHUNK_BYTES = 6 << 20  # of pixels; counting them takes eight times as much

Triple = tuple[float, float, float]


def channel_statistics(images: Images) -> tuple[Triple, Triple]:
    """Mean and standard deviation of each channel over all pixels, on a scale of 0 to 1.

    The sums are exact integers, so that the result depends neither on the order nor on the chunks.
    """
    total = np.zeros(3, np.int64)
    squares = np.zeros(3, np.int64)
    rows = rows_within(_CHUNK_BYTES, images.shape[1])
    for start in range(0, len(images), rows):
        counts = _histograms(images[start : start + rows])
        total += counts @ np.arange(256, dtype=np.int64)
        squares += counts @ np.arange(256, dtype=np.int64) ** 2
    pixels = math.prod(images.shape[:3])
    means = [int(value) / pixels for value in total]
    stds = [
        math.sqrt(int(square) * pixels - int(value) ** 2) / pixels for value, square in zip(total, squares, strict=True)
    ]
    return (
        (means[0] / 255, means[1] / 255, means[2] / 255),
        (stds[0] / 255, stds[1] / 255, stds[2] / 255),
    )


def _histograms(images: Images) -> npt.NDArray[np.int64]:
    pixels = images.reshape(-1, 3)
    return np.stack([np.bincount(pixels[:, channel], minlength=256) for channel in range(3)])
