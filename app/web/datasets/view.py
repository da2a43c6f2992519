"""The template context of the list of datasets, and of a dataset as other pages show it."""

from __future__ import annotations

from dataclasses import dataclass

from app.datasets.notes import Note
from app.jobs.tasks import TaskPublic
from trainer.data.format import LARGEST_SIZE, SMALLEST_SIZE, USUAL_SIZES, DatasetRecord
from trainer.data.image_formats import readable_here

SAMPLES = 8
CELLS = 100


@dataclass(frozen=True)
class Sample:
    split: str
    index: int
    label: str
    file: str = ""


@dataclass(frozen=True)
class DatasetCard:
    """`notes` are what its statistics mean for a run; none if they have not been computed."""

    record: DatasetRecord
    samples: tuple[Sample, ...]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class DatasetsPage:
    """`/datasets`. `tasks` are the unfinished, failed and cancelled imports among the latest tasks."""

    cards: tuple[DatasetCard, ...]
    tasks: tuple[TaskPublic, ...]
    sources: tuple[str, ...]
    section: str = "datasets"
    smallest_size: int = SMALLEST_SIZE
    largest_size: int = LARGEST_SIZE
    usual_sizes: tuple[int, ...] = USUAL_SIZES

    @property
    def image_types(self) -> dict[str, str]:
        """The media types of the images that are read, by file ending."""
        return {ending[1:]: known.media_type for known in readable_here() for ending in known.endings}


def dataset_card(record: DatasetRecord, notes: tuple[Note, ...] = ()) -> DatasetCard:
    rows = [index * record.train_count // SAMPLES for index in range(SAMPLES)]
    return DatasetCard(record, tuple(Sample("train", row, "") for row in rows if row < record.train_count), notes)
