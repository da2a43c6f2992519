"""Datasets with known properties for the table of planted faults: drawn from a seed, or a subset of CIFAR-100.

Each fault of the data is a function that changes the arrays of a healthy dataset.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from trainer.data.format import Split
from trainer.data.sources.shapes import CLASSES, draw
from trainer.data.writer import write_dataset

CIFAR_ZIP = "TRACKSIDE_CIFAR100_ZIP"  # a zip of CIFAR-100 as folders train/CLASS/*.png and test/CLASS/*.png

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Arrays:
    """Images uint8 N×H×W×3 and labels int64 (N,) of both splits; `classes` is the number of classes."""

    classes: int
    train: Images
    train_labels: Labels
    test: Images
    test_labels: Labels

    def write(self, root: Path, name: str) -> None:
        arrays: dict[Split, tuple[Images, Labels, list[str]]] = {
            "train": (self.train, self.train_labels, [f"train/{row}.png" for row in range(len(self.train_labels))]),
            "test": (self.test, self.test_labels, [f"test/{row}.png" for row in range(len(self.test_labels))]),
        }
        classes = [f"class {number}" for number in range(self.classes)]
        write_dataset(root, name, arrays=arrays, classes=classes, source="generated")


def textures(seed: int, classes: int, size: int, train: int, test: int) -> Arrays:
    """Striped textures on cloudy fields, as in photos: a class is a direction and width of stripes and a tint."""
    rng = np.random.default_rng([seed, classes, size])
    labels = [np.repeat(np.arange(classes), each) for each in (train, test)]
    drawn = [_texture(part, classes, size, rng) for part in labels]
    return Arrays(classes, drawn[0], labels[0], drawn[1], labels[1])


def _texture(labels: Labels, classes: int, size: int, rng: np.random.Generator) -> Images:
    count = len(labels)
    y, x = np.meshgrid(*2 * (np.linspace(0, 1, size, endpoint=False),), indexing="ij")
    angle = (np.pi * labels / classes + rng.normal(0, 0.1, count))[:, None, None]
    frequency = (2.5 + 1.5 * (labels % 3) + rng.normal(0, 0.2, count))[:, None, None]
    phase = rng.uniform(0, 2 * np.pi, count)[:, None, None]
    stripes = np.sin(2 * np.pi * frequency * (x * np.cos(angle) + y * np.sin(angle)) + phase)
    distance = np.hypot(*np.meshgrid(np.fft.fftfreq(size) * size, np.fft.rfftfreq(size) * size, indexing="ij"))
    clouds = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(count, size, size))) / (1 + distance) ** 1.2, (size, size))
    clouds /= clouds.std((1, 2), keepdims=True)
    gray = (0.9 * stripes + 0.6 * clouds)[..., None]
    tint = np.random.default_rng([classes, size]).uniform(-0.12, 0.12, (classes, 1, 1, 3))
    ground = rng.uniform(0.35, 0.65, (count, 1, 1, 3)) + tint[labels]
    pixels = ground + gray * (0.12 + rng.normal(0, 0.04, (count, 1, 1, 3)))
    return (255 * pixels.clip(0, 1)).round().astype(np.uint8)


def shapes(seed: int, classes: int, train: int, test: int) -> Arrays:
    """Evenly spaced classes of the built-in shapes100."""
    rng = np.random.default_rng([seed, classes])
    own = np.arange(classes) * len(CLASSES) // classes
    labels = [np.repeat(np.arange(classes), each) for each in (train, test)]
    drawn = [np.concatenate([draw(own[part[i : i + 500]], rng) for i in range(0, len(part), 500)]) for part in labels]
    return Arrays(classes, drawn[0], labels[0], drawn[1], labels[1])


def photos(seed: int, classes: int, train: int, test: int) -> Arrays:
    """Classes of CIFAR-100, chosen by the seed, from the zip that the environment variable CIFAR_ZIP names."""
    rng = np.random.default_rng([seed, classes])
    with zipfile.ZipFile(os.environ[CIFAR_ZIP]) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith((".png", ".jpg")))
        by_folder: dict[tuple[str, str], list[str]] = {}
        for name in names:
            split, folder = name.split("/")[-3:-1]
            by_folder.setdefault((split, folder), []).append(name)
        folders = sorted({folder for _, folder in by_folder})
        chosen = sorted(rng.choice(len(folders), classes, replace=False))

        def read(split: str, each: int) -> tuple[Images, Labels]:
            rows = [by_folder[split, folders[index]][:each] for index in chosen]
            images = [_decoded(archive.read(name)) for part in rows for name in part]
            return np.stack(images), np.repeat(np.arange(classes), [len(part) for part in rows])

        return Arrays(classes, *read("train", train), *read("test", test))


def _decoded(data: bytes) -> Images:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def uneven(arrays: Arrays, ratio: float) -> Arrays:
    """The same with geometrically falling numbers of training images: the first class has `ratio` times the last's."""
    each = np.bincount(arrays.train_labels).min()
    counts = [max(2, round(each * ratio ** (-c / (arrays.classes - 1)))) for c in range(arrays.classes)]
    rows = np.concatenate([np.flatnonzero(arrays.train_labels == c)[:count] for c, count in enumerate(counts)])
    return replace(arrays, train=arrays.train[rows], train_labels=arrays.train_labels[rows])


def _rng(arrays: Arrays) -> np.random.Generator:
    return np.random.default_rng(int(arrays.train[:50].sum()))


def shuffled(arrays: Arrays) -> Arrays:
    return replace(arrays, train_labels=_rng(arrays).permutation(arrays.train_labels))


def noisy(arrays: Arrays) -> Arrays:
    """Six of ten training labels are drawn at random."""
    rng = _rng(arrays)
    other = rng.integers(0, arrays.classes, len(arrays.train_labels))
    return replace(
        arrays, train_labels=np.where(rng.random(len(arrays.train_labels)) < 0.6, other, arrays.train_labels)
    )


def leaking(arrays: Arrays) -> Arrays:
    """A third of the test images are training images."""
    rng = _rng(arrays)
    test, labels = arrays.test.copy(), arrays.test_labels.copy()
    rows = rng.permutation(len(labels))[: len(labels) // 3]
    source = rng.permutation(len(arrays.train_labels))[: len(rows)]
    test[rows], labels[rows] = arrays.train[source], arrays.train_labels[source]
    return replace(arrays, test=test, test_labels=labels)


def repeated(arrays: Arrays) -> Arrays:
    """Each third training image is in the training split twice: the validation images are drawn from these."""
    rows = np.concatenate([np.arange(len(arrays.train_labels)), np.arange(0, len(arrays.train_labels), 3)])
    return replace(arrays, train=arrays.train[rows], train_labels=arrays.train_labels[rows])


def conflicting(arrays: Arrays) -> Arrays:
    """A quarter of the training images is there a second time, with the label of the next class."""
    rows = np.arange(0, len(arrays.train_labels), 4)
    return replace(
        arrays,
        train=np.concatenate([arrays.train, arrays.train[rows]]),
        train_labels=np.concatenate([arrays.train_labels, (arrays.train_labels[rows] + 1) % arrays.classes]),
    )


def blank(arrays: Arrays) -> Arrays:
    return replace(arrays, train=np.zeros_like(arrays.train), test=np.zeros_like(arrays.test))


def constant(arrays: Arrays) -> Arrays:
    """Each image is a single color: its own mean."""

    def flat(images: Images) -> Images:
        return np.broadcast_to(images.mean((1, 2), keepdims=True).round(), images.shape).astype(np.uint8)

    return replace(arrays, train=flat(arrays.train), test=flat(arrays.test))


def other_test(arrays: Arrays) -> Arrays:
    """The test images are negatives, turned by a quarter."""
    return replace(arrays, test=np.ascontiguousarray(255 - np.rot90(arrays.test, axes=(1, 2))))


def same_class_twice(arrays: Arrays) -> Arrays:
    """The first two classes show the same: their images are dealt at random between them."""
    rng = _rng(arrays)

    def dealt(labels: Labels) -> Labels:
        return np.where(labels < 2, rng.integers(0, 2, len(labels)), labels)

    return replace(arrays, train_labels=dealt(arrays.train_labels), test_labels=dealt(arrays.test_labels))


def few(arrays: Arrays) -> Arrays:
    """20 training images of each class."""
    rows = np.concatenate([np.flatnonzero(arrays.train_labels == c)[:20] for c in range(arrays.classes)])
    return replace(arrays, train=arrays.train[rows], train_labels=arrays.train_labels[rows])


BASES: dict[str, Callable[[int], Arrays]] = {
    "textures": lambda seed: textures(seed, 10, 16, 160, 50),
    "shapes": lambda seed: shapes(seed, 8, 150, 60),
    "shapes100": lambda seed: shapes(seed, 100, 30, 6),
    "two": lambda seed: textures(seed, 2, 16, 500, 200),
    "many": lambda seed: textures(seed, 24, 24, 60, 20),
    "uneven": lambda seed: uneven(textures(seed, 8, 16, 400, 60), 8),
    "photos": lambda seed: photos(seed, 8, 200, 75),
}
