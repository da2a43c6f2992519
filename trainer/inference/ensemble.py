"""Ensembles: several models of the same classes as one, which predicts the mean of their probabilities."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from trainer.data.errors import DatasetDamaged
from trainer.data.format import DatasetRecord, open_split, read_labels, read_record
from trainer.data.splits import validation_split
from trainer.exported.ensemble_report import EnsembleReport
from trainer.exported.labels import run_record
from trainer.exported.portable import Portable
from trainer.inference.classifier import BATCH, Classifier, load_best
from trainer.inference.rebuild import open_file
from trainer.models.inputs import Constants, resize
from trainer.rundir.spec import read_spec
from trainer.spec.train_spec import TrainSpec
from trainer.system.durable import write_durably
from trainer.system.progress import Progress

SMALLEST = torch.finfo(torch.float32).tiny


class MeanOfProbabilities(nn.Module):
    """Outputs the logarithm of the mean of the members' calibrated probabilities; the softmax of that is the mean."""

    def __init__(self, members: Sequence[Classifier]) -> None:
        super().__init__()
        self.models = nn.ModuleList(member.model for member in members)
        self.sizes = [member.size for member in members]
        self.constants = [member.constants for member in members]
        self.temperatures = [member.temperature or 1.0 for member in members]

    def forward(self, images: Tensor) -> Tensor:
        """Map normalized float B×3×H×W, of the dataset's image size, to float32 B×C."""
        members = zip(self.models, self.sizes, self.constants, self.temperatures, strict=True)
        each = [
            (model(resize(self._normalized_by(own, images), size, own.interpolation)).float() / warmth).softmax(1)
            for model, size, own, warmth in members
        ]
        return torch.stack(each).mean(0).clamp_min(SMALLEST).log()

    def _normalized_by(self, own: Constants, images: Tensor) -> Tensor:
        """Images that were normalized with the first member's constants, as `own` normalizes them."""
        first = self.constants[0]
        if torch.equal(first.mean, own.mean) and torch.equal(first.std, own.std):
            return images
        scale, offset = first.std / own.std, (first.mean - own.mean) / own.std
        return images * scale[:, None, None] + offset[:, None, None]


def ensemble_of(members: Sequence[Classifier], size: int) -> Classifier:
    """Combine `members`, all trained on the same dataset with images of `size` pixels, into one classifier.

    Its `step` and `epoch` are None, and its hash is that of the members' hashes. Raises ValueError: the members differ
    in classes.
    """
    first = members[0]
    if any(list(member.labels.names) != list(first.labels.names) for member in members):
        raise ValueError("the members answer with other classes")
    sha256 = hashlib.sha256("".join(member.sha256 for member in members).encode()).hexdigest()
    model = MeanOfProbabilities(members).eval()
    return Classifier(None, None, sha256, first.labels, model, first.constants, size, first.device)


def open_files(
    files: Sequence[Path], device: torch.device, custom_models: Collection[str] = ()
) -> tuple[Classifier, list[Portable]]:
    """Open exported models as one classifier, with their descriptions. Raises PortableDamaged, ValueError, OSError."""
    opened = [open_file(file, device, custom_models) for file in files]
    members, abouts = [classifier for classifier, _ in opened], [about for _, about in opened]
    if len({(about.dataset, about.size, about.fit) for about in abouts}) > 1:
        raise ValueError("the members were trained on other images")
    return members[0] if len(members) == 1 else ensemble_of(members, abouts[0].size), abouts


def open_runs(run_dirs: Sequence[Path], datasets: Path, device: torch.device) -> tuple[Classifier, DatasetRecord]:
    """Open the best checkpoints of runs as one classifier, with the record that says how images are fitted.

    Raises NoCheckpoint, DatasetError, ValueError.
    """
    members, records = [], []
    for run_dir in run_dirs:
        spec = read_spec(run_dir)
        records.append(run_record(datasets, run_dir, spec))
        members.append(load_best(run_dir, spec, records[-1], device))
    return members[0] if len(members) == 1 else ensemble_of(members, records[0].size), records[0]


def measure(
    files: Sequence[Path],
    datasets: Path,
    spec: TrainSpec,
    target: Path,
    progress: Progress,
    custom_models: Collection[str] = (),
) -> EnsembleReport:
    """Measure the accuracy of the members and of their mean on the held-out images, and write it to `target`.

    `spec` is that of any member, as all of them hold out the same images.

    Raises DatasetError, PortableDamaged, OSError.
    """
    record = read_record(datasets, spec.dataset.name)
    if record.sha256 != spec.dataset.sha256:
        raise DatasetDamaged(f"The dataset {record.name} is not the one that the members were trained on.")
    validation = validation_split(spec, record, read_labels(datasets, record.name, "train"), datasets)
    images, labels = open_split(datasets, record.name, validation.split)
    rows = validation.rows
    truth = torch.from_numpy(labels[rows])
    if spec.target == "coarse" and record.fine_to_coarse is not None:
        truth = torch.tensor(record.fine_to_coarse)[truth]
    members = [open_file(file, torch.device("cpu"), custom_models)[0] for file in files]
    correct = torch.zeros(len(members) + 1, dtype=torch.int64)
    for at in range(0, len(rows), BATCH):
        progress(at, len(rows), "answering the held-out images")
        part = images[rows[at : at + BATCH]]
        each = torch.stack([member.calibrated(member.probabilities(part)) for member in members])
        predicted = torch.cat([each, each.mean(0, keepdim=True)]).argmax(2)
        correct += (predicted == truth[at : at + BATCH]).sum(1)
    *single, combined = (correct.double() / len(rows)).tolist()
    report = EnsembleReport(images=len(rows), accuracy=combined, members=single)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_durably(target, report.model_dump_json().encode())
    progress(len(rows), len(rows), "done")
    return report
