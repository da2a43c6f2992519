"""What a frozen backbone's features are worth without any training: accuracy of the nearest neighbors among them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.engine.context import Context

NEIGHBORS = 20
TEMPERATURE = 0.07  # of the votes, as in Wu et al. 2018 and DINO
QUERIES = 256  # images whose similarities to all training images are held at once


def neighbor_accuracies(context: Context) -> dict[str, float]:
    """The accuracy on the validation and test split of a vote of the nearest training images, from cached features."""
    data = context.data
    train = data.train.images[data.train_rows], data.train.labels[data.train_rows]
    found = {}
    if len(data.val_rows):
        val = data.val.images[data.val_rows], data.val.labels[data.val_rows]
        found["val/knn_acc"] = neighbor_accuracy(*train, *val, data.num_classes)
    found["test/knn_acc"] = neighbor_accuracy(*train, data.test.images, data.test.labels, data.num_classes)
    return found


@torch.inference_mode()
def neighbor_accuracy(known: Tensor, known_labels: Tensor, asked: Tensor, labels: Tensor, num_classes: int) -> float:
    """The share of `asked`, float N×F, whose class has the most votes of the nearest `known`, float M×F, by cosine.

    A vote counts exp(similarity / TEMPERATURE).
    """
    unit, correct = F.normalize(known.float()), 0
    for queries, right in zip(torch.split(asked, QUERIES), torch.split(labels, QUERIES), strict=True):
        similarity, nearest = (F.normalize(queries.float()) @ unit.T).topk(min(NEIGHBORS, len(known)))
        votes = similarity.new_zeros(len(queries), num_classes)
        votes.scatter_add_(1, known_labels[nearest], (similarity / TEMPERATURE).exp())
        correct += int((votes.argmax(1) == right).sum())
    return correct / max(1, len(labels))
