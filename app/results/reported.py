"""Published results for the presets on CIFAR-100, and where a run of this server records the same metric."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

ORIGIN = "agastyapatri/CIFAR-100"


class Metric(StrEnum):
    """What a reported number measures. ORIGIN tests the model of the last epoch, others the selected one."""

    TRAIN_LOSS = "training loss"
    TRAIN_ACC = "training accuracy"
    LAST_TEST_LOSS = "test loss, last epoch"
    TEST_ACC = "test accuracy"

    @property
    def is_share(self) -> bool:
        return self in (Metric.TRAIN_ACC, Metric.TEST_ACC)

    @property
    def series(self) -> str | None:
        """The series that contains the metric, if it is read from a curve."""
        return {Metric.TRAIN_LOSS: "train/loss", Metric.TRAIN_ACC: "train/acc"}.get(self)

    @property
    def summary(self) -> str | None:
        """The key of the metric in a finished run's summary, if it is there."""
        return {Metric.LAST_TEST_LOSS: "last/test/loss", Metric.TEST_ACC: "test/acc"}.get(self)


@dataclass(frozen=True)
class Reported:
    """A published number. `epoch` is the epoch at which the curve is read; None means the last."""

    preset: str
    metric: Metric
    value: float
    source: str = ORIGIN
    epoch: int | None = None
    note: str = ""


REPORTED = (
    Reported("baseline-mlp", Metric.TRAIN_LOSS, 4.2935, note="on one batch"),
    Reported("baseline-cnn", Metric.TRAIN_LOSS, 0.015, note="overfitted"),
    Reported("baseline-cnn", Metric.LAST_TEST_LOSS, 6.23, note="overfitted"),
    Reported("baseline-cnn-lr1e-4", Metric.TRAIN_LOSS, 2.134),
    Reported("baseline-cnn-lr1e-4", Metric.LAST_TEST_LOSS, 3.068),
    Reported("baseline-cnn-lr2.5e-4", Metric.TRAIN_ACC, 0.95, epoch=60, note="roughly"),
    Reported("baseline-cnn-first", Metric.TRAIN_LOSS, 4.59),
    Reported("resnet18", Metric.TEST_ACC, 0.756, source="weiaicunzai/pytorch-cifar100"),
    Reported("strong", Metric.TEST_ACC, 0.830, source="others", note="with cutout"),
)
