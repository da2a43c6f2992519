"""What each page is given to render. Templates read these and compute nothing."""

from __future__ import annotations

from dataclasses import dataclass

from app.jobs.tasks import TaskPublic
from trainer.data.format import DatasetRecord

SAMPLES = 8
CELLS = 100


@dataclass(frozen=True)
class Sample:
    split: str
    index: int
    label: str


@dataclass(frozen=True)
class DatasetCard:
    record: DatasetRecord
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class DatasetsPage:
    """`/datasets`. `tasks` are imports that are not done, or failed lately."""

    cards: tuple[DatasetCard, ...]
    tasks: tuple[TaskPublic, ...]
    sources: tuple[str, ...]
    section: str = "datasets"


def dataset_card(record: DatasetRecord) -> DatasetCard:
    rows = [index * record.train_count // SAMPLES for index in range(SAMPLES)]
    return DatasetCard(record, tuple(Sample("train", row, "") for row in rows if row < record.train_count))
