"""Model cards: origin, evaluation and limitations of a model or an ensemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.diagnosis.class_results import ClassResult
from app.display.formatting import interval, percent
from app.display.sparkline import Sparkline, sparkline
from app.jobs.tasks import TaskPublic
from app.models.coverage import Coverage
from app.models.ensembles import Unmeasured
from app.models.files import ModelFile
from app.models.onnx import OnnxFile
from app.models.registry import ModelAlias
from app.runs.public import CheckpointPublic, RunPublic
from trainer.data.format import DatasetRecord
from trainer.exported.ensemble_report import EnsembleReport
from trainer.rundir.calibration import Calibration

CLASSES_SHOWN = 5


@dataclass(frozen=True)
class Measure:
    """A metric: its name, its value and its 95% interval as texts, and the images on which it was measured."""

    what: str
    value: str
    of: str
    interval: str = ""


@dataclass(frozen=True, kw_only=True)
class Card:
    """The common part of both cards. `without` are the packages missing for an ONNX export; `exporting` says that an
    export is at work; `run_names` are those of the history, by id, without deleted runs."""

    name: str
    without: tuple[str, ...]
    exporting: bool
    origin: str
    run_names: Mapping[str, str]
    section: str = "models"

    @property
    def address(self) -> str:
        return predict_address(self.origin, self.name)


@dataclass(frozen=True, kw_only=True)
class ModelCard(Card):
    """`/models/{name}`. `classes` are by increasing accuracy; `checkpoint` is the one used for prediction; `file` and
    `onnx` are the downloads, None if there is none; `calibration` is that of the checkpoint,
    `threshold` the probability below which predictions are "not sure", `coverage` what thresholds would give;
    `datasets` may be evaluated on, `evaluations` were made."""

    run: RunPublic
    names: tuple[str, ...]
    alias: ModelAlias | None
    record: DatasetRecord | None
    checkpoint: CheckpointPublic | None
    classes: tuple[ClassResult, ...]
    file: ModelFile | None
    onnx: OnnxFile | None
    calibration: Calibration | None
    threshold: float | None
    coverage: Coverage | None
    datasets: tuple[str, ...]
    evaluations: tuple[TaskPublic, ...]

    @property
    def spark(self) -> Sparkline:
        return sparkline(self.run.spark, self.run.total_steps)

    @property
    def measures(self) -> tuple[Measure, ...]:
        run, found = self.run, []
        if run.best_acc is not None:
            of = f"{run.val_count:,} held-out images, which selected the checkpoint" if run.val_count else ""
            found.append(_measure("validation accuracy", run.best_acc, run.val_count, of))
        test = run.summary.get("test/acc")
        if test is not None:
            count = self.record.test_count if self.record else None
            of = f"{count:,} test images, used once" if count else "the test split, used once"
            found.append(_measure("test accuracy", test, count, of))
        top5 = run.summary.get("test/acc5")
        if top5 is not None:
            found.append(Measure("top-5 accuracy", f"{percent(top5)}%", "the test split"))
        return tuple(found)

    @property
    def worst(self) -> Sequence[ClassResult]:
        return self.classes[:CLASSES_SHOWN]

    @property
    def best(self) -> Sequence[ClassResult]:
        return self.classes[: -CLASSES_SHOWN - 1 : -1] if len(self.classes) > CLASSES_SHOWN else ()

    @property
    def limits(self) -> tuple[str, ...]:
        if self.record is None:
            return ("The training dataset has been deleted: only its record is left.",)
        classes = len(self.record.target_names(self.run.train_spec.target))
        fit = {"crop": "center-cropped to a square", "pad": "padded to a square", "squash": "stretched to a square"}
        held_out = 0 if self.record.val_count else self.run.val_count or 0
        return (
            f"It predicts one of its {classes:,} classes for every image, also for an image of none of them.",
            f"Images are {fit[self.record.fit]} and resized to {self.record.size}×{self.record.size} pixels: details "
            "smaller than a few pixels are lost.",
            f"It was trained on {self.record.train_count - held_out:,} images of {self.record.name} "
            f"({self.record.source}). Its accuracy holds for similar images only.",
            self._calibrated,
        )

    @property
    def _calibrated(self) -> str:
        if self.calibration is None:
            return "Its probabilities are not calibrated."
        found = self.calibration.after
        return (
            f"Its probabilities are calibrated on images like those of {self.run.dataset}: on the test images they are "
            f"off by {percent(found.ece)}% on average. On other images they may be off by more."
        )


@dataclass(frozen=True, kw_only=True)
class EnsembleCard(Card):
    """`/models/{name}` of an ensemble. `measured` has the accuracies of the members and the ensemble on the same
    held-out images, or the reason why there are none."""

    runs: tuple[RunPublic, ...]
    alias: ModelAlias
    dataset_kept: bool
    measured: EnsembleReport | Unmeasured
    onnx: OnnxFile | None

    @property
    def report(self) -> EnsembleReport | None:
        return self.measured if isinstance(self.measured, EnsembleReport) else None

    @property
    def rows(self) -> tuple[tuple[RunPublic, Measure], ...]:
        """Each member with its accuracy: on the common images if there is a report, else on its own images."""
        if self.report is None:
            return tuple((run, _accuracy(run.best_acc, run.val_count)) for run in self.runs)
        found = zip(self.runs, self.report.members, strict=True)
        return tuple((run, _accuracy(accuracy, self.report.images)) for run, accuracy in found)

    @property
    def together(self) -> Measure | None:
        return None if self.report is None else _accuracy(self.report.accuracy, self.report.images)


def predict_address(origin: str, name: str) -> str:
    return f"{origin}/api/predict?model={name}"


def _accuracy(share: float | None, count: int | None) -> Measure:
    if share is None:
        return Measure("validation accuracy", "–", "")
    return _measure("validation accuracy", share, count, f"{count:,} held-out images" if count else "")


def _measure(what: str, share: float, count: int | None, of: str) -> Measure:
    return Measure(what, f"{percent(share)}%", of, interval(share, count))
