"""The template context of `/predict`: one model, or two side by side."""

from __future__ import annotations

import random
from dataclasses import dataclass

from pydantic import ValidationError

from app.datasets.datasets import Datasets
from app.models.registry import ModelRegistry
from app.prediction.members import members_of
from app.runs.names import LATEST
from app.runs.public import CheckpointPublic, RunPublic
from app.runs.query import RunQuery
from app.storage.tables import Status
from trainer.data.errors import DatasetError
from trainer.data.format import DatasetRecord
from trainer.data.image_formats import readable_here
from trainer.exported.labels import own_record

TEST_IMAGES = 12
DEFAULT_SIZE, DEFAULT_FIT = 32, "crop"  # for a run without a dataset record


@dataclass(frozen=True)
class TestImage:
    """A test image of the dataset: its index in the test split and its label."""

    index: int
    label: str
    superclass: str


@dataclass(frozen=True)
class Panel:
    """A model on the page: its run, the alias by which it was chosen ("" if by run id), the record of its training
    dataset, and the checkpoint that answers (None if the run has none yet). For an ensemble, they are the first
    one's of its `members`."""

    run: RunPublic
    called: str
    record: DatasetRecord | None
    checkpoint: CheckpointPublic | None
    members: int = 1

    @property
    def model(self) -> str:
        return self.called or self.run.id

    @property
    def title(self) -> str:
        return self.called or self.run.name

    @property
    def size(self) -> int:
        return self.record.size if self.record else DEFAULT_SIZE

    @property
    def fit(self) -> str:
        return self.record.fit if self.record else DEFAULT_FIT


@dataclass(frozen=True)
class PredictPage:
    """`/predict`. `models` and `named` (alias, run) can be chosen; `panels` are the chosen models, at most two;
    `samples` are test images of the first model's dataset."""

    models: tuple[RunPublic, ...]
    named: tuple[tuple[str, RunPublic], ...]
    panels: tuple[Panel, ...]
    samples: tuple[TestImage, ...]
    origin: str
    section: str = "predict"

    @property
    def accept(self) -> str:
        """The images that the browser offers to choose, for `accept` of an input field."""
        return ",".join(item for known in readable_here() for item in (known.media_type, *known.endings))

    @property
    def beside(self) -> Panel | None:
        return self.panels[1] if len(self.panels) > 1 else None


def predict_page(models: ModelRegistry, datasets: Datasets, model: str, beside: str, origin: str) -> PredictPage:
    """The page's context. `model` (default: latest finished run) and `beside` (default: none) are run ids or aliases.

    Raises ApiError 404: no such model.
    """
    listed = [run for run in models.runs.list(RunQuery(limit=200)).items if run.best_step is not None]
    first = next((run for run in listed if run.status == Status.FINISHED), listed[0] if listed else None)
    panels: list[Panel] = []
    if model and model != LATEST:
        panels.append(_chosen(models, model))
    elif first is not None:
        panels.append(_panel(models, first, ""))
    if panels and beside:
        panels.append(_chosen(models, beside))
    known = {run.id for run in listed}
    older = {panel.run.id: panel.run for panel in panels if panel.run.id not in known}
    return PredictPage(
        models=(*older.values(), *listed),
        named=tuple(models.named()),
        panels=tuple(panels),
        samples=_test_images(datasets, panels[0].run) if panels else (),
        origin=origin,
    )


def _chosen(models: ModelRegistry, model: str) -> Panel:
    run = models.representative(model)
    called = model if model in models.aliases.of_run(run.id) else ""
    return _panel(models, run, called, len(members_of(models.resolve(model))))


def _panel(models: ModelRegistry, run: RunPublic, called: str, members: int = 1) -> Panel:
    return Panel(run, called, _record(models, run), models.runs.answering_checkpoint(run.id), members)


def _record(models: ModelRegistry, run: RunPublic) -> DatasetRecord | None:
    """The record in the run's folder, since the dataset may have been deleted or replaced; None if unreadable."""
    try:
        return own_record(models.runs.folder(run.id))
    except (OSError, ValidationError):
        return None


def _test_images(datasets: Datasets, run: RunPublic) -> tuple[TestImage, ...]:
    try:
        record = datasets.trained_on(run.train_spec.dataset)
        labels = datasets.labels(record.name, "test")
    except DatasetError:
        return ()
    rows = sorted(random.sample(range(len(labels)), min(TEST_IMAGES, len(labels))))
    return tuple(_test_image(record, row, int(labels[row])) for row in rows)


def _test_image(record: DatasetRecord, row: int, label: int) -> TestImage:
    above, names = record.fine_to_coarse, record.superclasses
    return TestImage(row, record.classes[label], names[above[label]] if above and names else "")
