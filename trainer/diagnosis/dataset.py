"""What the images and labels of a run show before training: leaks, conflicting labels, constant images, imbalance."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainer.data.splits import listed
from trainer.diagnosis.findings import Finding, Remedy, value
from trainer.engine.context import Context
from trainer.engine.duplicates import digests
from trainer.engine.resident import ResidentData

LEAK = 0.01  # share of the validation or test images
CONFLICTS = 0.01  # share of the training images
CONSTANT, SOME_CONSTANT = 0.5, 0.05  # share of the images
SAMPLED = 2000  # images that are looked at for constant ones
UNEVEN = 10.0  # times the smallest class
MOST_BYTES = 2 << 30  # images of a run that are compared for duplicates
BALANCED = Remedy("balanced class weights", {"class_weights": "balanced"})
NO_DUPLICATES = Remedy("duplicates of validation and test images left out", {"drop_duplicates": True})


def class_counts(data: ResidentData) -> npt.NDArray[np.int64]:
    """The training images of each class, int64 (C,)."""
    counts = torch.bincount(data.train.labels[data.train_rows], minlength=data.num_classes)
    return counts.cpu().numpy()


def is_compared(context: Context) -> bool:
    """Whether images are compared for duplicates: those of large datasets are not, which would take seconds."""
    data = context.data
    compared = sum(split.images.numel() for split in (data.train, data.test))
    return not data.streamed and data.train.images.dtype == torch.uint8 and compared <= MOST_BYTES


def dataset_findings(context: Context) -> Iterator[Finding]:
    """Yield the findings about the run's data, before its first step."""
    yield from constant_images(context)
    if is_compared(context):
        train = digests(context.data.train.images)
        yield from conflicting_labels(context, train)
        yield from leak(context, train)
    yield from shared_groups(context)
    yield from imbalance(context)


def constant_images(context: Context) -> Iterator[Finding]:
    """Images of a single color; if all are the same image, that is the input check's finding."""
    data = context.data
    rows = data.train_rows[:: max(1, len(data.train_rows) // SAMPLED)][:SAMPLED].to(data.train.images.device)
    if data.train.images.dtype != torch.uint8 or not len(rows):
        return
    flat = data.train.images[rows].flatten(1, 2)
    constant = (flat.amax(1) == flat.amin(1)).all(1)
    share = constant.float().mean().item()
    colors = len(torch.unique(flat[constant][:, 0], dim=0)) if share else 0
    if share < SOME_CONSTANT or (share == 1 and colors == 1):
        return
    message = (
        f"{100 * share:.3g}% of {len(rows):,} training images examined are a single color each (threshold "
        f"{100 * SOME_CONSTANT:g}%). Look at the images on the dataset's page."
    )
    evidence = value("images of a single color", 100 * share, 100 * SOME_CONSTANT, "%")
    yield Finding("constant_images", "fail" if share >= CONSTANT else "look", message, evidence)


def leak(context: Context, train: Tensor) -> Iterator[Finding]:
    """Validation or test images that are training images as well."""
    data = context.data
    trained = train[data.train_rows.to(train.device)]
    held = train if data.val is data.train else digests(data.val.images)
    shares = {
        "test": torch.isin(digests(data.test.images), trained),
        "validation": torch.isin(held[data.val_rows], trained),
    }
    found = {name: same for name, same in shares.items() if len(same) and same.float().mean().item() >= LEAK}
    if not found:
        return
    listing = " and ".join(
        f"{int(same.sum()):,} of {len(same):,} {name} images ({100 * same.float().mean().item():.3g}%)"
        for name, same in found.items()
    )
    share = max(same.float().mean().item() for same in found.values())
    message = f"{listing} are also training images (threshold {100 * LEAK:g}%): the accuracy on them is too high."
    evidence = value("held-out images that are also training images", 100 * share, 100 * LEAK, "%")
    yield Finding("leak", "fail", message, evidence, NO_DUPLICATES)


def shared_groups(context: Context) -> Iterator[Finding]:
    """Groups, such as patients, that the given splits part. Splits that are drawn never part them."""
    record = context.data.record
    if not record.shared_groups or record.groups is None:
        return
    message = (
        f"{record.shared_groups:,} of {record.groups:,} groups have training images, and test or validation images "
        "too: the accuracy on them is too high for new groups. Import the dataset again with splits that keep groups "
        "whole, or without splits."
    )
    yield Finding("shared_groups", "fail", message, value("groups in several splits", record.shared_groups, 0, ""))


def conflicting_labels(context: Context, digest: Tensor) -> Iterator[Finding]:
    """Identical training images that have different labels."""
    data = context.data
    digest, labels = digest[data.train_rows], data.train.labels[data.train_rows]
    _, group = torch.unique(digest, return_inverse=True)
    lowest = torch.full((int(group.max()) + 1,), data.num_classes, device=labels.device)
    lowest = lowest.scatter_reduce(0, group, labels, "amin")
    highest = torch.zeros_like(lowest).scatter_reduce(0, group, labels, "amax")
    conflicting = lowest[group] != highest[group]
    share = conflicting.float().mean().item()
    if share < CONFLICTS:
        return
    pairs = torch.stack([lowest[group], highest[group]], 1)[conflicting]
    kinds, counts = torch.unique(pairs, dim=0, return_counts=True)
    first, second = kinds[counts.argmax()].tolist()
    names = data.record.target_names(context.spec.target)
    message = (
        f"{int(conflicting.sum()):,} of {len(labels):,} training images ({100 * share:.3g}%) are there several times "
        f"with different labels (threshold {100 * CONFLICTS:g}%), most often as {names[first]} and {names[second]}. "
        "Correct or remove them in the dataset."
    )
    evidence = value("training images with conflicting labels", 100 * share, 100 * CONFLICTS, "%")
    yield Finding("conflicting_labels", "fail", message, evidence)


def imbalance(context: Context) -> Iterator[Finding]:
    """Some classes have far fewer training images than others, and no setting makes up for it."""
    counts = torch.bincount(context.data.train.labels[context.data.train_rows], minlength=context.data.num_classes)
    ratio = (counts.max() / counts.min().clamp(min=1)).item()
    if ratio < UNEVEN or context.spec.balancing:
        return
    names = context.data.record.target_names(context.spec.target)
    rare = [names[index] for index in counts.argsort()[:3].tolist()]
    message = (
        f"The most frequent class has {ratio:.3g} times as many training images as the rarest (threshold {UNEVEN:g}). "
        f"Rarest: {listed(rare)}."
    )
    remedy = BALANCED if context.spec.loss == "cross_entropy" else None
    yield Finding("imbalance", "look", message, value("largest / smallest class", ratio, UNEVEN), remedy)
