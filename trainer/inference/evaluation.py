"""Evaluates a model on a split of any dataset whose classes it knows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainer.data.errors import DatasetError
from trainer.data.format import Split, open_split, read_record
from trainer.engine.calibration import reliability
from trainer.engine.scores import LARGEST_TABLE, class_scores, roc_auc
from trainer.exported.class_names import model_labels
from trainer.exported.evaluation import Evaluation, OwnTest
from trainer.inference.classifier import BATCH, Classifier, OutputNotFinite
from trainer.rundir.answers import Answers
from trainer.system.progress import Progress, silent


@dataclass(frozen=True)
class Origin:
    """What the model was trained on, and its accuracy there on `images` test images; 0 images if that is not known."""

    dataset: str
    accuracy: float = math.nan
    images: int = 0


def evaluate_on(
    classifier: Classifier,
    datasets: Path,
    dataset: str,
    split: Split,
    *,
    model: str,
    run: str,
    origin: Origin,
    progress: Progress = silent,
) -> tuple[Evaluation, Answers]:
    """Predict all images of a split. `model` is what the classifier is called, `run` the id of its run.

    Raises ClassesDiffer, DatasetError, OutputNotFinite.
    """
    record = read_record(datasets, dataset)
    if split not in record.splits:
        raise DatasetError(f"{dataset} has no {split} split.")
    images, fine = open_split(datasets, dataset, split)
    labels = torch.from_numpy(model_labels(list(classifier.labels.names), record, fine))
    parts: list[Tensor] = []
    for start in range(0, len(images), BATCH):
        progress(start, len(images), "predicting")
        parts.append(classifier.calibrated(classifier.probabilities(images[start : start + BATCH])))
    progress(len(images), len(images), "predicting")
    table = torch.cat(parts)
    if not bool(torch.isfinite(table).all()):
        raise OutputNotFinite("The model's outputs are not finite: its training has diverged.")
    top, guess = table.max(1)
    own = table.gather(1, labels[:, None]).squeeze(1)
    accuracy = (guess == labels).double().mean().item()
    figures = {
        "acc": accuracy,
        **class_scores(labels, guess, table.shape[1]),
        "log_loss": -own.clamp_min(torch.finfo(torch.float32).tiny).log().mean().item(),
    }
    if table.shape[1] > 10:
        figures["acc5"] = (table.topk(5).indices == labels[:, None]).any(1).double().mean().item()
    if table.numel() <= LARGEST_TABLE:
        figures["auc"] = roc_auc(labels, table)
    found = Evaluation(
        model=model,
        run=run,
        dataset=dataset,
        split=split,
        images=len(images),
        classes=list(classifier.labels.names),
        figures={name: value for name, value in figures.items() if math.isfinite(value)},
        reliability=reliability(table.clamp_min(torch.finfo(torch.float32).tiny).log(), labels),
        calibrated=classifier.temperature is not None,
        own_test=_own_test(origin, accuracy, len(images)),
    )
    answers = Answers(
        step=classifier.step or 0,
        row=np.arange(len(images), dtype=np.int32),
        guess=guess.to(torch.int16).numpy(),
        own=own.half().numpy(),
        top=top.half().numpy(),
    )
    return found, answers


def _own_test(origin: Origin, accuracy: float, images: int) -> OwnTest | None:
    if not origin.images or not math.isfinite(origin.accuracy):
        return None
    pooled = (origin.accuracy * origin.images + accuracy * images) / (origin.images + images)
    error = math.sqrt(max(pooled * (1 - pooled), 1e-12) * (1 / origin.images + 1 / images))
    z = (origin.accuracy - accuracy) / error
    return OwnTest(dataset=origin.dataset, accuracy=origin.accuracy, images=origin.images, z=z)
