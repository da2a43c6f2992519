"""A preview of a run's augmentation on a few training images, for the launch form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from trainer.data.format import read_record
from trainer.engine.augment import draw_epoch, mix, place
from trainer.engine.contact_sheet import sheet_of
from trainer.models.inputs import resize
from trainer.spec.train_spec import TrainSpec

IMAGES = 8
SIZE = 96  # px; larger images are resized to this


def augmented(datasets: Path, spec: TrainSpec) -> Image.Image:
    """Return IMAGES training images, evenly spaced over the split and augmented as in training, in one row.

    Raises DatasetError: the dataset is missing or damaged.
    """
    record = read_record(datasets, spec.dataset.name)
    stored = np.load(datasets / record.name / "train.images.npy", mmap_mode="r")
    rows = np.linspace(0, len(stored) - 1, IMAGES + 2).astype(int)[1:-1]
    images = torch.from_numpy(np.ascontiguousarray(stored[rows]))
    device, every = torch.device("cpu"), torch.arange(IMAGES)
    size = spec.model.input_size or record.size
    draws = draw_epoch(spec.augment, IMAGES, spec.seed, 0, device, record.size, size)
    fill = (255 * torch.tensor(record.mean)).round().to(torch.uint8)
    placed = place(spec.augment, images, every, draws, every, fill=fill, size=size).permute(0, 3, 1, 2).float() / 255
    mixed = mix(spec.augment, placed, torch.zeros(IMAGES, dtype=torch.int64), draws, every)
    shown = placed if mixed is None else mixed.images
    return sheet_of(resize(shown, min(SIZE, shown.shape[2])).clamp(0, 1))
