"""shapes100: a dataset generated from a seed, with the structure of CIFAR-100 and without a download.

Each image shows one of 20 shapes (the superclass) in one of 5 textures, at a random position, size and angle and in
random colors, on a cluttered background and with noise. Each chunk of rows has its own random generator, so that the
bytes do not depend on the number of processes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainer.data.format import SPLITS, DatasetRecord, Images, Labels, Split, images_file
from trainer.data.sources.outlines import (
    SHAPES,
    TABLE_REACH,
    TABLE_SIZE,
    TEXTURE_SIZE,
    TEXTURES,
    Floats,
    distance_tables,
    texture_tables,
)
from trainer.data.writer import DatasetWriter
from trainer.system.parallel import available_cores, map_unordered
from trainer.system.progress import Progress, silent

SIZE = 32
CLASSES = sorted(f"{texture} {shape}" for texture in TEXTURES for shape in SHAPES)
FINE_TO_COARSE = [SHAPES.index(name.split()[1]) for name in CLASSES]

_TEXTURE_OF = np.array([TEXTURES.index(name.split()[0]) for name in CLASSES])
_SHAPE_OF = np.array(FINE_TO_COARSE)
_CHUNK_ROWS = 500
_SMALL_ROWS = 4 * _CHUNK_ROWS  # below this, starting processes costs more than it saves
_CLUTTER = 4
_SPECKLE_PERIOD = 4.0  # the speckled table holds 16×16 grains, the others one period


@dataclass(frozen=True)
class Chunk:
    split: Split
    start: int
    stop: int


@dataclass(frozen=True)
class ShapeDrawer:
    """Draws a chunk's rows directly into the dataset's array file."""

    folder: Path
    seed: int
    per_class: dict[Split, int]

    def __call__(self, chunk: Chunk) -> None:
        images: Images = np.load(self.folder / images_file(chunk.split), mmap_mode="r+")
        labels = np.arange(chunk.start, chunk.stop) // self.per_class[chunk.split]
        generator = np.random.default_rng([self.seed, SPLITS.index(chunk.split), chunk.start])
        images[chunk.start : chunk.stop] = draw(labels, generator)


def make_shapes100(
    root: Path,
    name: str = "shapes100",
    *,
    seed: int = 0,
    train_per_class: int = 500,
    test_per_class: int = 100,
    processes: int | None = None,
    progress: Progress = silent,
) -> DatasetRecord:
    per_class: dict[Split, int] = {"train": train_per_class, "test": test_per_class}
    chunks = [
        Chunk(split, start, min(start + _CHUNK_ROWS, len(CLASSES) * count))
        for split, count in per_class.items()
        for start in range(0, len(CLASSES) * count, _CHUNK_ROWS)
    ]
    total = len(CLASSES) * sum(per_class.values())
    if processes is None:
        processes = available_cores() if total > _SMALL_ROWS else 1
    with DatasetWriter(root, name, size=SIZE) as writer:
        for split, count in per_class.items():
            writer.create_images(split, len(CLASSES) * count)
            labels = np.repeat(np.arange(len(CLASSES)), count)
            writer.set_labels(split, labels, _file_names(split, count))
        done = 0
        progress(done, total, "drawing")
        for chunk, _ in map_unordered(ShapeDrawer(writer.folder, seed, per_class), chunks, processes=processes):
            done += chunk.stop - chunk.start
            progress(done, total, "drawing")
        return writer.commit(
            classes=CLASSES,
            superclasses=SHAPES,
            fine_to_coarse=FINE_TO_COARSE,
            source=f"shapes100 (seed {seed})",
            progress=progress,
        )


def draw(labels: Labels, generator: np.random.Generator) -> Images:
    """Draw one image per label, uint8 N×32×32×3."""
    count = len(labels)
    shade, tint, ground = _colors(count, generator)
    radius = generator.uniform(9.5, 14, count).astype(np.float32)
    center = _centers(radius, generator)
    canvas = _background(ground, generator)
    _scatter_clutter(canvas, generator)
    inside = _coverage(_SHAPE_OF[labels], center, radius, generator)
    mix = _texture(_TEXTURE_OF[labels], generator)
    for channel in range(3):
        paint = shade[:, channel, None, None] + mix * (tint - shade)[:, channel, None, None]
        canvas[:, channel] += inside * (paint - canvas[:, channel])
    return _to_pixels(canvas, generator)


def _file_names(split: Split, per_class: int) -> Sequence[str]:
    return [f"{split}/{name}/{index:05d}.png" for name in CLASSES for index in range(per_class)]


def _colors(count: int, generator: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Colors of shape, texture and background, N×3 each, chosen from twelve random colors per image.

    Texture and background take the first two of the other colors that differ enough from the shape's.
    """
    palette = generator.random((count, 12, 3), dtype=np.float32)
    shade = palette[:, 0]
    distance = np.abs(palette[:, 1:] - shade[:, None]).sum(2)
    order = np.argsort(distance < 1.1, axis=1, kind="stable") + 1
    rows = np.arange(count)
    return shade, palette[rows, order[:, 0]], palette[rows, order[:, 1]]


def _centers(radius: Floats, generator: np.random.Generator) -> Floats:
    slack = np.maximum(SIZE / 2 - radius + 1, 0)[:, None]
    wander = generator.uniform(-1, 1, (len(radius), 2)).astype(np.float32)
    return np.asarray((SIZE - 1) / 2 + slack * wander, np.float32)


def _background(ground: Floats, generator: np.random.Generator) -> Floats:
    """A color with a slight gradient in a random direction, N×3×32×32."""
    axis = np.linspace(-1, 1, SIZE, dtype=np.float32)
    slopes = generator.normal(0, 0.12, (2, len(ground), 3)).astype(np.float32)
    across = slopes[0][:, :, None, None] * axis[None, None, None, :]
    down = slopes[1][:, :, None, None] * axis[None, None, :, None]
    canvas: Floats = ground[:, :, None, None] + across + down
    return canvas


def _scatter_clutter(canvas: Floats, generator: np.random.Generator) -> None:
    """Draw small rotated bars and blobs of random colors on the background, in place."""
    count = len(canvas)
    offsets = np.arange(-4, 5, dtype=np.float32)
    rows = np.arange(count)[:, None, None]
    for _ in range(_CLUTTER):
        place = generator.integers(0, SIZE, (count, 2))
        angle = generator.uniform(0, np.pi, count).astype(np.float32)[:, None, None]
        length = generator.uniform(1.5, 4.5, count).astype(np.float32)[:, None, None]
        width = generator.uniform(0.6, 2.5, count).astype(np.float32)[:, None, None]
        color = generator.random((count, 3), dtype=np.float32)
        along = np.cos(angle) * offsets[None, None, :] + np.sin(angle) * offsets[None, :, None]
        beside = np.cos(angle) * offsets[None, :, None] - np.sin(angle) * offsets[None, None, :]
        patch = np.clip(1.5 - np.hypot(along / length, beside / width) * 1.2, 0, 1)
        y = (place[:, 0, None, None] + np.arange(-4, 5)[None, :, None]) % SIZE
        x = (place[:, 1, None, None] + np.arange(-4, 5)[None, None, :]) % SIZE
        for channel in range(3):
            under = canvas[rows, channel, y, x]
            canvas[rows, channel, y, x] = under + patch * (color[:, channel, None, None] - under)


def _coverage(shapes: npt.NDArray[np.int64], center: Floats, radius: Floats, generator: np.random.Generator) -> Floats:
    """Share of each pixel that the shape covers, N×32×32, from 0 to 1."""
    angle = generator.uniform(0, 2 * np.pi, len(shapes)).astype(np.float32)
    scale = TABLE_SIZE / (2 * TABLE_REACH) / radius
    u, v = _transformed(center, angle, scale)
    column = np.clip(u + TABLE_SIZE / 2, 0, TABLE_SIZE - 1).astype(np.int32)
    row = np.clip(v + TABLE_SIZE / 2, 0, TABLE_SIZE - 1).astype(np.int32)
    base = (shapes * TABLE_SIZE * TABLE_SIZE).astype(np.int32)[:, None, None]
    distance = distance_tables().ravel()[base + row * TABLE_SIZE + column]
    coverage: Floats = np.clip(distance * radius[:, None, None] + 0.5, 0, 1)
    return coverage


def _texture(textures: npt.NDArray[np.int64], generator: np.random.Generator) -> Floats:
    """Share of the second color in each pixel, N×32×32, from 0 to 1."""
    count = len(textures)
    angle = generator.uniform(0, 2 * np.pi, count).astype(np.float32)
    period = generator.uniform(4.5, 6.5, count).astype(np.float32)
    period[textures == TEXTURES.index("checked")] *= 1.4
    period[textures == TEXTURES.index("speckled")] *= _SPECKLE_PERIOD
    origin = generator.uniform(0, SIZE, (count, 2)).astype(np.float32)
    u, v = _transformed(origin, angle, TEXTURE_SIZE / period)
    column = np.floor(u).astype(np.int32) % TEXTURE_SIZE
    row = np.floor(v).astype(np.int32) % TEXTURE_SIZE
    base = (textures * TEXTURE_SIZE * TEXTURE_SIZE).astype(np.int32)[:, None, None]
    mix: Floats = texture_tables().ravel()[base + row * TEXTURE_SIZE + column]
    return mix


def _transformed(origin: Floats, angle: Floats, scale: Floats) -> tuple[Floats, Floats]:
    """Pixel coordinates in a translated, rotated and scaled frame per image, N×32×32 each."""
    axis = np.arange(SIZE, dtype=np.float32)
    cosine, sine = np.cos(angle) * scale, np.sin(angle) * scale
    x = axis[None, :] - origin[:, 0, None]
    y = axis[None, :] - origin[:, 1, None]
    u = (cosine[:, None] * x)[:, None, :] + (sine[:, None] * y)[:, :, None]
    v = (cosine[:, None] * y)[:, :, None] - (sine[:, None] * x)[:, None, :]
    return u, v


def _to_pixels(canvas: Floats, generator: np.random.Generator) -> Images:
    """Apply contrast, brightness and noise, and convert N×3×32×32 to uint8 N×32×32×3."""
    count = len(canvas)
    contrast = generator.uniform(0.7, 1, (count, 1, 1, 1)).astype(np.float32)
    brightness = generator.uniform(-0.15, 0.15, (count, 1, 1, 1)).astype(np.float32)
    grain = generator.uniform(0.01, 0.06, (count, 1, 1, 1)).astype(np.float32)
    noise = generator.standard_normal(canvas.shape, dtype=np.float32)
    canvas = (canvas - 0.5) * contrast + (0.5 + brightness) + noise * grain
    return np.ascontiguousarray((np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(0, 2, 3, 1))
