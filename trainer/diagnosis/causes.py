"""The order in which causes are considered, and what explains what. Does not import torch.

Data first, then the objective, regularization, optimizer and batch, and the learning rate last: a symptom is told
below the first cause that explains it, and the learning rate is blamed only if nothing before it is.
"""

from __future__ import annotations

from collections.abc import Collection

ORDER = (
    "check/input", "constant_images", "conflicting_labels", "labels", "leak", "shared_groups", "splits_disagree",
    "imbalance", "confused_classes",
    "check/logits", "label_smoothing",
    "augmentation", "dropout", "weight_decay", "overfitting",
    "check/start_loss", "dead_units", "check/zeroed", "small_batch", "momentum", "clipping",
    "lr_too_high", "lr_too_low",
)  # fmt: skip
# Causes for which a network does not learn. The others only spoil its results, or are still to be explained.
HINDERING = tuple(
    kind
    for kind in ORDER
    if kind not in (
        "leak", "shared_groups", "splits_disagree", "imbalance", "confused_classes", "overfitting",
        "conflicting_labels", "check/zeroed",
    )
)  # fmt: skip
# Causes that were inferred from how training goes, or from a few steps on copies: they end if the network learns.
INFERRED = ("labels", "dead_units", "momentum", "clipping", "dropout", "weight_decay", "lr_too_high", "lr_too_low")
# Causes for which the outputs are the same for every input.
BLIND = ("check/input", "check/logits", "dead_units")
EXPLAINED_BY = {
    "overfitting": ("labels", "check/input"),
    "splits_disagree": ("leak", "shared_groups"),
    "plateau": (*HINDERING, "overfitting"),
    "unstable": (*HINDERING, "overfitting"),
    "confused_classes": ("labels", "conflicting_labels"),
    "conflicting_labels": ("check/input", "constant_images"),
    "leak": ("check/input", "constant_images", "conflicting_labels"),
    "labels": ("check/input", "constant_images"),
    "check/zeroed": BLIND,
    "check/apart": (*BLIND, "check/zeroed"),
}


def explanation(kind: str, active: Collection[str]) -> str | None:
    """Return the first cause that holds and explains a finding of `kind`."""
    explaining = EXPLAINED_BY.get(kind, ())
    return next((cause for cause in ORDER if cause in explaining and cause in active), None)


def hindrance(active: Collection[str]) -> str | None:
    """Return the first cause that holds and explains why a network does not learn."""
    return next((cause for cause in HINDERING if cause in active), None)
