"""Which series of a script are its training and its validation loss, as their names suggest."""

from __future__ import annotations

import re
from typing import Literal

Split = Literal["train", "val"]

_PARTS = re.compile(r"[^a-z0-9]+")
_VALIDATION = frozenset({"val", "valid", "validation", "eval", "evaluation", "dev"})
_TRAINING = frozenset({"train", "training", "trn"})
_NEITHER = frozenset({"test", "testing", "best", "min", "last", "scale", "ratio", "weight", "system", "config"})
_PLAIN = frozenset({"loss", "total", "mean", "avg", "epoch", "step", "batch"})


def loss_of(name: str) -> tuple[Split, int] | None:
    """Return whose loss the series is, and how unusual its name is for that; None if it is no loss.

    `train/loss`, `train_loss` and `loss` are the most usual names of a training loss; `train/box_loss` is less usual.
    """
    parts = [part for part in _PARTS.split(name.lower()) if part]
    if "loss" not in parts or not _NEITHER.isdisjoint(parts):
        return None
    split: Split = "train" if _VALIDATION.isdisjoint(parts) else "val"
    others = [part for part in parts if part != "loss" and part not in _VALIDATION | _TRAINING]
    unnamed = split == "train" and _TRAINING.isdisjoint(parts)
    rank = sum(1 if part in _PLAIN else 3 for part in others) + 2 * unnamed
    return split, rank


def better(name: str, than: str | None, split: Split) -> bool:
    """Whether `name` is a more usual name of this loss than `than`."""
    found = loss_of(name)
    if found is None or found[0] != split:
        return False
    known = None if than is None else loss_of(than)
    return known is None or (found[1], name) < (known[1], than or "")
