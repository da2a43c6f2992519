"""How a run's images enter its network. Free of torch."""

from __future__ import annotations

from trainer.data.format import DatasetRecord
from trainer.spec.dataset_spec import PixelSpec
from trainer.spec.train_spec import TrainSpec


def pixels_of(spec: TrainSpec, record: DatasetRecord) -> PixelSpec:
    """What was pinned with the run, else the mean and deviation of the dataset."""
    return spec.dataset.pixels or PixelSpec(mean=record.mean, std=record.std)
