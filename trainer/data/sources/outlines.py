"""The 20 outlines and 5 textures of shapes100, as lookup tables for pixels."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Outline = list[tuple[float, float]]

SHAPES = (
    "arrow",
    "bolt",
    "chevron",
    "circle",
    "corner",
    "crescent",
    "cross",
    "drop",
    "flower",
    "gear",
    "heart",
    "hourglass",
    "house",
    "pentagon",
    "ring",
    "semicircle",
    "square",
    "star",
    "tee",
    "triangle",
)
TEXTURES = ("checked", "dotted", "plain", "speckled", "striped")

TABLE_SIZE = 128
TABLE_REACH = 1.25  # the tables cover -1.25 … 1.25 in units of the shape's radius
TEXTURE_SIZE = 64


@cache
def distance_tables() -> Floats:
    """Signed distance to each outline, float32 20×128×128, in units of the radius, positive inside."""
    axis = (np.arange(TABLE_SIZE) + 0.5) / TABLE_SIZE * 2 * TABLE_REACH - TABLE_REACH
    x, y = np.meshgrid(axis, axis)
    return np.stack([_signed_distance(x, y, rings) for rings in map(_rings, SHAPES)]).astype(np.float32)


@cache
def texture_tables() -> Floats:
    """One period of each texture, float32 5×64×64: the share of the second color, from 0 to 1."""
    axis = (np.arange(TEXTURE_SIZE) + 0.5) / TEXTURE_SIZE
    u, v = np.meshgrid(axis, axis)
    wave_u, wave_v = np.sin(2 * math.pi * u), np.sin(2 * math.pi * v)
    grains = np.random.default_rng(100).integers(0, 2, (16, 16)).astype(float)
    tables = {
        "checked": _soften(wave_u * wave_v * 6),
        "dotted": _soften((0.32 - np.hypot(u - 0.5, v - 0.5)) * 12),
        "plain": np.zeros_like(u),
        "speckled": np.kron(grains, np.ones((TEXTURE_SIZE // 16, TEXTURE_SIZE // 16))),
        "striped": _soften(wave_u * 3),
    }
    return np.stack([tables[name] for name in TEXTURES]).astype(np.float32)


def _soften(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.clip(values * 0.5 + 0.5, 0, 1)


def _signed_distance(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], rings: list[Outline]
) -> npt.NDArray[np.float64]:
    """Signed distance by the even-odd rule, so that a second ring is a hole."""
    nearest = np.full(x.shape, np.inf)
    inside = np.zeros(x.shape, bool)
    for ring in rings:
        for (ax, ay), (bx, by) in zip(ring, ring[1:] + ring[:1], strict=True):
            length = (bx - ax) ** 2 + (by - ay) ** 2
            along = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length, 0, 1)
            nearest = np.minimum(nearest, np.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay)))
            if ay != by:
                inside ^= ((ay > y) != (by > y)) & (x < (bx - ax) * (y - ay) / (by - ay) + ax)
    return np.where(inside, nearest, -nearest)


def _rings(shape: str) -> list[Outline]:
    """Rings of a shape, centered and scaled so that the farthest corner has distance 1 (round shapes less)."""
    if shape == "ring":
        return [_circle(0.85), _circle(0.45)]
    if shape in _ROUND:
        return [[(x * 0.88, y * 0.88) for x, y in _centered(_ROUND[shape]())]]
    return [_centered(_ANGULAR[shape])]


def _centered(outline: Outline) -> Outline:
    points = np.array(outline)
    points -= (points.min(0) + points.max(0)) / 2
    points /= np.hypot(points[:, 0], points[:, 1]).max()
    return [(float(x), float(y)) for x, y in points]


def _circle(radius: float, start: float = 0, end: float = 2 * math.pi, steps: int = 48) -> Outline:
    angles = np.linspace(start, end, steps, endpoint=end - start < 6)
    return [(radius * math.cos(angle), radius * math.sin(angle)) for angle in angles]


def _wavy(inner: float, waves: int, sharpness: float) -> Outline:
    """A circle whose radius oscillates between `inner` and 1. A higher `sharpness` makes the wave squarer."""
    angles = np.linspace(0, 2 * math.pi, 120, endpoint=False)
    wave = np.clip(np.cos(waves * angles) * sharpness, -1, 1) * 0.5 + 0.5
    radii = inner + (1 - inner) * wave
    return [(r * math.cos(a), r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


def _crescent() -> Outline:
    outer = _circle(1, math.radians(50), math.radians(310))
    inner = [(0.36 + 0.82 * math.cos(a), 0.82 * math.sin(a)) for a in np.radians(np.linspace(290, 70, 40))]
    return outer + inner


def _heart() -> Outline:
    angles = np.linspace(0, 2 * math.pi, 72, endpoint=False)
    return [
        (
            16 * math.sin(a) ** 3,
            -(13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)),
        )
        for a in angles
    ]


def _regular(corners: int, inner: float | None = None) -> Outline:
    count = corners if inner is None else 2 * corners
    radii = [1.0 if inner is None or index % 2 == 0 else inner for index in range(count)]
    angles = [2 * math.pi * index / count - math.pi / 2 for index in range(count)]
    return [(r * math.cos(a), r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


_ROUND: dict[str, Callable[[], Outline]] = {
    "circle": lambda: _circle(1),
    "crescent": _crescent,
    "drop": lambda: [(0.0, -1.75), *_circle(1, math.radians(-30), math.radians(210))],
    "flower": lambda: _wavy(0.5, 5, 1),
    "gear": lambda: _wavy(0.72, 8, 4),
    "heart": _heart,
    "semicircle": lambda: _circle(1, 0, math.pi),
}
_ANGULAR: dict[str, Outline] = {
    "arrow": [(-1, -0.3), (0.05, -0.3), (0.05, -0.8), (1, 0), (0.05, 0.8), (0.05, 0.3), (-1, 0.3)],
    "bolt": [(0.25, -1), (-0.6, 0.15), (-0.05, 0.15), (-0.25, 1), (0.6, -0.2), (0.05, -0.2)],
    "chevron": [(-0.8, -0.9), (-0.1, -0.9), (0.75, 0), (-0.1, 0.9), (-0.8, 0.9), (0.05, 0)],
    "corner": [(-0.8, -0.8), (-0.2, -0.8), (-0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (-0.8, 0.8)],
    "cross": [
        (-0.3, -0.95),
        (0.3, -0.95),
        (0.3, -0.3),
        (0.95, -0.3),
        (0.95, 0.3),
        (0.3, 0.3),
        (0.3, 0.95),
        (-0.3, 0.95),
        (-0.3, 0.3),
        (-0.95, 0.3),
        (-0.95, -0.3),
        (-0.3, -0.3),
    ],
    "hourglass": [(-0.75, -0.9), (0.75, -0.9), (0.12, 0), (0.75, 0.9), (-0.75, 0.9), (-0.12, 0)],
    "house": [(0, -1), (0.85, -0.2), (0.6, -0.2), (0.6, 0.85), (-0.6, 0.85), (-0.6, -0.2), (-0.85, -0.2)],
    "pentagon": _regular(5),
    "square": _regular(4),
    "star": _regular(5, 0.42),
    "tee": [
        (-0.9, -0.85),
        (0.9, -0.85),
        (0.9, -0.3),
        (0.28, -0.3),
        (0.28, 0.85),
        (-0.28, 0.85),
        (-0.28, -0.3),
        (-0.9, -0.3),
    ],
    "triangle": _regular(3),
}
