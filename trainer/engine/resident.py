"""A dataset's splits as tensors on the device: images stay uint8, N×H×W×3."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainer.data.format import DatasetRecord, read_record
from trainer.data.groups import read_weights
from trainer.data.splits import validation_split
from trainer.engine.duplicates import digests
from trainer.errors import TrainerError
from trainer.models.device import data_limit
from trainer.spec.train_spec import TrainSpec


@dataclass(frozen=True)
class Split:
    """`images` uint8 N×H×W×3, `labels` int64 (N,), both on the device. `path` is the file of images."""

    images: Tensor
    labels: Tensor
    path: Path | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ResidentData:
    """`train_rows` index `train`, and `val_rows` index `val`, which is `train` where a share of it is held out.

    `coarse_of`, int64 (classes,), maps classes to superclasses; it is None if the target is the superclass or the
    dataset has no superclasses.

    `train_weights`, float32 (N,), are what the images of `train` count in the loss; None if all count the same.

    Images that do not fit on the device are `streamed`: they stay in the memory-mapped file and are read as needed.
    """

    record: DatasetRecord
    train: Split
    val: Split
    test: Split
    train_rows: Tensor
    val_rows: Tensor
    num_classes: int
    coarse_of: Tensor | None
    streamed: bool = False
    train_weights: Tensor | None = None


class DatasetChanged(TrainerError):
    """The dataset's hash is not the one recorded when the run was queued."""


def load_resident(root: Path, spec: TrainSpec, device: torch.device) -> ResidentData:
    """Load the spec's dataset. Raises DatasetChanged, and ValueError: it has no superclasses to train on."""
    record = read_record(root, spec.dataset.name)
    if spec.dataset.sha256 and spec.dataset.sha256 != record.sha256:
        raise DatasetChanged(f"dataset {record.name} has been replaced since this run was queued")
    if spec.target == "coarse" and record.fine_to_coarse is None:
        raise ValueError(f"dataset {record.name} has no superclasses to train on")
    to_coarse = None if record.fine_to_coarse is None else np.asarray(record.fine_to_coarse, dtype=np.int64)

    held = sum((root / record.name / f"{name}.images.npy").stat().st_size for name in record.splits)
    streamed = held > data_limit(device)

    def split(name: str) -> Split:
        folder = root / record.name
        # Mode "c" (copy-on-write): torch needs writable memory; the file is not modified, and a CPU needs no copy.
        images = np.load(folder / f"{name}.images.npy", mmap_mode="c")
        labels = np.load(folder / f"{name}.labels.npy").astype(np.int64)
        labels = record.target_labels(spec.target, labels)
        pixels = torch.from_numpy(images)
        path = folder / f"{name}.images.npy"
        return Split(pixels if streamed else pixels.to(device), torch.from_numpy(labels).to(device), path)

    train = split("train")
    fine = np.load(root / record.name / "train.labels.npy").astype(np.int64)
    validation = validation_split(spec, record, fine, root)
    coarse = spec.target == "coarse"
    test, train_rows = split("test"), torch.from_numpy(validation.train_rows).to(device)
    val = train if validation.split == "train" else split(validation.split)
    val_rows = torch.from_numpy(validation.rows).to(device)
    weights = read_weights(root, record)
    if spec.drop_duplicates:
        train_rows = without_duplicates(train, train_rows, val, val_rows, test)
    return ResidentData(
        record=record,
        train=train,
        val=val,
        test=test,
        train_rows=train_rows,
        val_rows=val_rows,
        num_classes=len(record.target_names(spec.target)),
        coarse_of=None if coarse or to_coarse is None else torch.from_numpy(to_coarse).to(device),
        streamed=streamed,
        train_weights=None if weights is None else torch.from_numpy(weights).to(device),
    )


def without_duplicates(train: Split, train_rows: Tensor, val: Split, val_rows: Tensor, test: Split) -> Tensor:
    """Return the rows to train on whose images are not validation or test images too; all if none would remain."""
    own = digests(train.images)
    held = own if val is train else digests(val.images)
    elsewhere = torch.cat([held[val_rows.to(held.device)], digests(test.images)])
    kept = train_rows[~torch.isin(own[train_rows.to(own.device)], elsewhere).to(train_rows.device)]
    return kept if len(kept) else train_rows
