"""Figures of a classifier besides accuracy: macro F1 and precision, balanced accuracy, log loss and the area under the
ROC curve. Defined as by scikit-learn, which the tests compare them with.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LARGEST_TABLE = 10_000_000  # probabilities that are kept for the area under the ROC curve: 40 MB


def class_scores(labels: Tensor, guesses: Tensor, classes: int) -> dict[str, float]:
    """Figures of predicted classes, int64 (n,): macro_f1, macro_precision and balanced_acc. NaN without images.

    As scikit-learn's `f1_score` and `precision_score` with `average="macro"` and `zero_division=0`, over the classes
    among labels and guesses, and as its `balanced_accuracy_score`, over the classes among the labels.
    """
    if not len(labels):
        return dict.fromkeys(("macro_f1", "macro_precision", "balanced_acc"), math.nan)
    hits = torch.bincount(labels[labels == guesses], minlength=classes).cpu().double()
    own = torch.bincount(labels, minlength=classes).cpu().double()
    guessed = torch.bincount(guesses, minlength=classes).cpu().double()
    either = own + guessed > 0
    return {
        "macro_f1": (2 * hits / (own + guessed))[either].mean().item(),
        "macro_precision": (hits / guessed.clamp(min=1))[either].mean().item(),
        "balanced_acc": (hits / own)[own > 0].mean().item(),
    }


def roc_auc(labels: Tensor, probabilities: Tensor) -> float:
    """The area under the ROC curve of each class against the others, averaged over the classes that have images and do
    not have all of them. `labels` int64 (n,), `probabilities` float (n, C). NaN if there is no such class.

    As scikit-learn's `roc_auc_score` with `multi_class="ovr"` where all classes have images.
    """
    if probabilities.device.type == "mps":  # has no float64
        labels, probabilities = labels.cpu(), probabilities.cpu()
    count, classes = probabilities.shape
    columns = probabilities.T.contiguous()
    ordered, order = columns.sort(1)
    own = torch.bincount(labels, minlength=classes).double()
    # The rank of an image among those of its column, from 1; images of the same probability share the middle one.
    first = torch.searchsorted(ordered, ordered).double()
    last = torch.searchsorted(ordered, ordered, right=True).double()
    is_own = labels[order] == torch.arange(classes, device=labels.device)[:, None]
    ranks = torch.where(is_own, (first + last + 1) / 2, 0).sum(1)
    areas = (ranks - own * (own + 1) / 2) / (own * (count - own))
    found = areas[(own > 0) & (own < count)]
    return found.mean().item() if len(found) else math.nan
