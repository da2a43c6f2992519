"""What a class's probability rests on: each part of the image is covered in turn, and the network asked again.

This is occlusion, of Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.1. It is
preferred to integrated gradients (Sundararajan et al. 2017) because what it shows was measured, and can be said in a
sentence ("covered here, it falls from 93% to 12%"); because any network will do, in the memory of a prediction; and
because maps that multiply gradients with the input tend to draw the input's edges whatever the weights (Adebayo et al.
2018, "Sanity Checks for Saliency Maps"). The price is alike: 50 passes forwards, where 16 steps of the other go both
ways. Of a 32×32 image they take 0.02 s of one CPU thread with `cnn`, 0.6 s with `resnet18`.

What is covered takes the data set's mean colour. No network was trained on such squares: small changes mean nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from trainer.data.format import Images
from trainer.inference.classifier import Classifier, OutputNotFinite, Prediction

PLACES = (7, 5, 4)  # of the square along each side, a quarter of the image wide; fewer where the network is slow
CPU_FLOPS = 60e9  # for a map: some 0.6 s of one thread
PORTION_SECONDS = 0.05  # that a prediction has to wait for a part of a map
MOST_IN_PORTION = 16


@dataclass(frozen=True)
class Square:
    """`probability` is the class's once the square with its corner at column `x` and row `y` is covered."""

    x: int
    y: int
    side: int
    probability: float


@dataclass(frozen=True)
class Saliency:
    """`fall` float32 (size, size): how much probability `prediction` loses, on the mean, as a square over the pixel is
    covered; below zero where it gains. `strongest` is the square that it loses most by."""

    prediction: Prediction
    fall: npt.NDArray[np.float32]
    strongest: Square


def saliency(classifier: Classifier, image: Images, index: int | None) -> Iterator[Saliency | None]:
    """Of one image, uint8 size × size × 3, and the class `index`, or the likeliest. Gives None after each portion of
    the work, at last what was found. Raises OutputNotFinite."""
    begun = time.perf_counter()
    plain = classifier.probabilities(image[None])[0]  # waits for the device
    portion = max(1, min(MOST_IN_PORTION, int(PORTION_SECONDS / (time.perf_counter() - begun))))
    if not bool(torch.isfinite(plain).all()):
        raise OutputNotFinite("The model's outputs are not finite: its training has diverged.")
    index = int(plain.argmax()) if index is None else index
    before = float(plain[index])
    yield None

    size = len(image)
    corners, side = _corners(size, _places(classifier))
    colour = (255 * classifier.constants[0]).round().to(torch.uint8).cpu().numpy()
    after: list[float] = []
    for start in range(0, len(corners), portion):
        part = corners[start : start + portion]
        covered = np.repeat(image[None], len(part), axis=0)
        for picture, (y, x) in zip(covered, part, strict=True):
            picture[y : y + side, x : x + side] = colour
        after += classifier.probabilities(covered)[:, index].tolist()
        yield None

    total, times = np.zeros((size, size), np.float32), np.zeros((size, size), np.float32)
    for (y, x), probability in zip(corners, after, strict=True):
        total[y : y + side, x : x + side] += before - probability
        times[y : y + side, x : x + side] += 1
    least = int(np.argmin(after))
    strongest = Square(corners[least][1], corners[least][0], side, after[least])
    yield Saliency(classifier.named(index, before), total / times, strongest)


def _places(classifier: Classifier) -> int:
    if classifier.device.type != "cpu":
        return PLACES[0]
    return next((places for places in PLACES if places**2 * classifier.flops <= CPU_FLOPS), PLACES[-1])


def _corners(size: int, places: int) -> tuple[list[tuple[int, int]], int]:
    """Row and column of each square's upper left corner, and the squares' side; together they cover every pixel."""
    side = max(1, size // 4)
    starts = sorted({round(place * (size - side) / (places - 1)) for place in range(places)})
    return [(y, x) for y in starts for x in starts], side
