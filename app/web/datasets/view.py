"""The template context of the list of datasets, and of a dataset as other pages show it."""

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
    """`/datasets`. `tasks` are the unfinished and failed imports among the latest tasks."""

    cards: tuple[DatasetCard, ...]
    tasks: tuple[TaskPublic, ...]
    sources: tuple[str, ...]
    section: str = "datasets"


def dataset_card(record: DatasetRecord) -> DatasetCard:
    rows = [index * record.train_count // SAMPLES for index in range(SAMPLES)]
    return DatasetCard(record, tuple(Sample("train", row, "") for row in rows if row < record.train_count))
