"""Remedies for the next cause, once a remedy for one cause has not helped. Does not import torch."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.diagnosis.causes import ORDER
from trainer.diagnosis.findings import Remedy
from trainer.spec.train_spec import TrainSpec

RATES = ("lr_too_high", "lr_too_low")


def alternatives(spec: TrainSpec, kind: str) -> list[Remedy]:
    """Return remedies of the other causes that the settings leave possible, in the order of the causes.

    Those after `kind` come first, then those before it.
    """
    excluded = RATES if kind in RATES else (kind,)
    found = [(cause, remedy) for cause, remedy in _possible(spec) if cause not in excluded]
    place = ORDER.index(kind) if kind in ORDER else -1
    found.sort(key=lambda item: (ORDER.index(item[0]) < place, ORDER.index(item[0])))
    return [remedy for _, remedy in found]


def _possible(spec: TrainSpec) -> Iterator[tuple[str, Remedy]]:
    optimizer = spec.optimizer
    if spec.label_smoothing > 0.1:
        yield "label_smoothing", Remedy("label smoothing 0.1", {"label_smoothing": 0.1})
    if spec.model.dropout > 0:
        yield "dropout", Remedy("no dropout", {"model.dropout": 0.0})
    if optimizer.weight_decay > 5e-4:
        yield "weight_decay", Remedy("weight decay 5e-4", {"optimizer.weight_decay": 5e-4})
    if optimizer.name == "sgd" and optimizer.momentum > 0.9:
        yield "momentum", Remedy("momentum 0.9", {"optimizer.momentum": 0.9})
    if spec.batch_size < 8:
        yield "small_batch", Remedy("batch size 32", {"batch_size": 32})
    for cause, factor in zip(RATES, (0.1, 10.0), strict=True):
        rate = float(f"{optimizer.lr * factor:.2g}")
        if 1e-8 <= rate <= 10:
            yield cause, Remedy(f"learning rate {rate:g}", {"optimizer.lr": rate})
