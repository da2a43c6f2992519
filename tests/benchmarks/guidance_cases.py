"""The planted faults and the healthy runs of the table of the guidance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks import guidance_data as data
from tests.benchmarks.guidance_data import Arrays

BASE = {"epochs": 8, "batch_size": 32, "val_fraction": 0.2, "precision": "float32", "compile": "off"}
MODELS = "tests.benchmarks.guidance_models"


@dataclass(frozen=True)
class Family:
    preset: str
    overrides: Mapping[str, Any]


ADAM = {"optimizer.name": "adam", "optimizer.lr": 1e-3, "optimizer.nesterov": False}
SGD = {"optimizer.name": "sgd", "optimizer.lr": 0.05, "optimizer.momentum": 0.9, "schedule.name": "linear",
       "schedule.warmup_epochs": 0, "optimizer.nesterov": True}  # fmt: skip
# No mirror images: in the textures they show another class.
PLAIN = {"augment.flip": False, "augment.crop": 0}
NET9 = {"model.name": "resnet9", "model.widths": [8, 12, 16, 16], **SGD, **PLAIN}
MUON = {"budget.minutes": None, "model.widths": [16, 24, 24], "optimizer.lr": 0.08, "augment.flip": False,
        "augment.alternating": False, "augment.resolutions": [], "augment.resolution_until": []}  # fmt: skip
SMALL_CNN = {"model.widths": [6, 8, 12]}

FAMILIES = {
    "cnn": Family("baseline-cnn", SMALL_CNN),
    "cnn-sgd": Family("baseline-cnn", {**SMALL_CNN, **SGD, "optimizer.lr": 0.02}),
    "mlp": Family("baseline-mlp", {"overfit_one_batch": False, "model.widths": [256, 128, 64], "optimizer.lr": 5e-4}),
    "resnet": Family("resnet18", NET9),
    "resnet-adam": Family("resnet18", {**NET9, **ADAM}),
    "resnet-flat": Family("resnet18", {**NET9, "schedule.name": "constant", "optimizer.lr": 0.1}),
    "resnet18": Family("resnet18", {**SGD, **PLAIN, "model.widths": [8, 8, 12, 12], "schedule.name": "one_cycle"}),
    "swift": Family("quick", MUON),
    "wide": Family("resnet18", {"model.name": "wrn-16-4", "model.widths": [8, 8, 12], **SGD, **PLAIN,
                                "model.dropout": 0.1}),
    "regularized": Family("baseline-cnn-regularised", {**SMALL_CNN, **PLAIN, "augment.crop": 1, "model.dropout": 0.2}),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A run: a dataset, a family and what is changed. `causes` are the kinds that name a planted fault; none of them:
    the run is healthy."""

    name: str
    dataset: str
    family: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    spoil: Callable[[Arrays], Arrays] | None = None
    causes: frozenset[str] = frozenset()

    @property
    def healthy(self) -> bool:
        return not self.causes

    @property
    def settings(self) -> dict[str, Any]:
        family = FAMILIES[self.family]
        return {**BASE, **family.overrides, **self.overrides}


def fault(name: str, dataset: str, family: str, causes: str, spoil: Any = None, **overrides: Any) -> Case:
    settings = {key.replace("__", "."): value for key, value in overrides.items()}
    return Case(name, dataset, family, settings, spoil, frozenset(causes.split()))


RATE_HIGH, RATE_LOW = "lr_too_high", "lr_too_low"

FAULTS = (
    fault("shuffled labels", "shapes", "cnn", "labels", data.shuffled, epochs=12),
    fault("shuffled labels, ResNet", "textures", "resnet", "labels", data.shuffled, epochs=12),
    fault("60% label noise", "textures", "resnet", "labels splits_disagree", data.noisy, epochs=12),
    fault("test images in training", "textures", "cnn", "leak", data.leaking),
    fault("validation images in training", "many", "swift", "leak", data.repeated),
    fault("conflicting labels", "shapes", "resnet", "conflicting_labels", data.conflicting),
    fault("two classes show the same", "textures", "resnet", "confused_classes", data.same_class_twice, epochs=12),
    fault("imbalance 100:1", "textures", "cnn", "imbalance", lambda a: data.uneven(a, 100)),
    fault("blank images", "shapes", "cnn", "check/input", data.blank),
    fault("constant images", "textures", "resnet", "constant_images", data.constant),
    fault("test split of another kind", "textures", "cnn", "splits_disagree", data.other_test),
    fault("20 images per class", "shapes", "cnn", "overfitting", data.few, epochs=30),
    fault("Adam, rate x100", "textures", "cnn", RATE_HIGH, optimizer__lr=0.1),
    fault("Adam, rate x100, ResNet", "shapes", "resnet-adam", RATE_HIGH, optimizer__lr=0.1),
    fault("Adam, rate /1000", "textures", "cnn", RATE_LOW, optimizer__lr=1e-6),
    fault("SGD, rate x100", "textures", "resnet", RATE_HIGH, optimizer__lr=5.0),
    fault("SGD, rate /1000", "textures", "resnet", RATE_LOW, optimizer__lr=5e-5),
    fault("SGD, rate x100, small CNN", "shapes", "cnn-sgd", RATE_HIGH, optimizer__lr=2.0),
    fault("Muon, rate x100", "textures", "swift", RATE_HIGH, optimizer__lr=8.0),
    fault("Muon, rate /1000", "textures", "swift", RATE_LOW, optimizer__lr=8e-5),
    fault("momentum 0.99", "textures", "cnn-sgd", "momentum", optimizer__momentum=0.99),
    fault("dropout 0.9", "textures", "cnn", "dropout", model__dropout=0.9),
    fault("weight decay 0.5", "textures", "resnet", "weight_decay", optimizer__weight_decay=0.5),
    fault("weight decay 1, Adam", "shapes", "cnn", "weight_decay", optimizer__weight_decay=1.0),
    fault("label smoothing 0.9", "shapes", "resnet", "label_smoothing", label_smoothing=0.9),
    fault("dead ReLU by initialization", "textures", "cnn", "dead_units", model__name=f"{MODELS}:make_dead_relu",
          model__widths=[]),
    fault("last layer 300 times too large", "many", "cnn", "check/start_loss",
          model__name=f"{MODELS}:make_large_head", model__widths=[], optimizer__lr=1e-4),
    fault("batch size 2 with BatchNorm", "textures", "resnet", "small_batch", batch_size=2, epochs=1),
    fault("ReLU after the last layer", "two", "cnn", "check/logits", model__final_relu=True),
    fault("cutout of most of the image", "textures", "resnet", "augmentation", augment__cutout=15),
)  # fmt: skip


def _healthy() -> list[Case]:
    plain = [
        (dataset, family)
        for dataset in ("textures", "shapes", "two", "many", "uneven")
        for family in ("cnn", "resnet", "swift", "mlp")
        if (dataset, family) != ("shapes", "mlp")  # it learns nothing from them, as its validation shows
    ]
    more = [
        ("shapes100", "cnn"), ("shapes100", "swift"), ("many", "resnet-adam"), ("textures", "wide"),
        ("shapes", "resnet18"), ("textures", "regularized"), ("two", "resnet-flat"), ("many", "cnn-sgd"),
        ("uneven", "resnet-flat"), ("photos", "cnn"), ("photos", "resnet"), ("photos", "swift"),
    ]  # fmt: skip
    return [Case(f"{dataset}, {family}", dataset, family) for dataset, family in plain + more]


HEALTHY = (
    *_healthy(),
    Case("balanced weights, uneven", "uneven", "cnn", {"class_weights": "balanced"}),
    Case("mixup", "textures", "resnet", {"augment.mixup": 0.2, "label_smoothing": 0.1}),
    Case("one epoch", "textures", "resnet", {"epochs": 1}),
)
