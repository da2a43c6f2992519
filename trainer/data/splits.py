"""The validation split. Free of torch."""

from __future__ import annotations

import numpy as np


def stratified_split(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted rows to train on and to hold out, the same share of each class.

    At least one row of each class remains to train on.
    """
    if fraction == 0:
        return np.arange(len(labels)), np.arange(0)
    rng = np.random.default_rng([seed, 0x5EED])
    order = rng.permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    counts = np.bincount(labels)
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    held = rank < np.minimum(np.round(counts * fraction), counts - 1).repeat(counts)
    return np.sort(by_class[~held]), np.sort(by_class[held])
