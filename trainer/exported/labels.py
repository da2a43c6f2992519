"""The dataset record of a run, and the names of its network's outputs. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.data.errors import DatasetDamaged
from trainer.data.format import DatasetRecord, read_record
from trainer.rundir.folder import RunDir
from trainer.spec.train_spec import TrainSpec


@dataclass(frozen=True)
class Labels:
    """Names of a model's outputs in order, and the superclass of each if there are any."""

    names: Sequence[str]
    superclasses: Sequence[str] | None

    @classmethod
    def of(cls, spec: TrainSpec, record: DatasetRecord) -> Labels:
        if record.superclasses is None or record.fine_to_coarse is None:
            return cls(record.classes, None)
        if spec.target == "coarse":
            return cls(record.superclasses, None)
        return cls(record.classes, [record.superclasses[coarse] for coarse in record.fine_to_coarse])


def run_record(datasets: Path, run_dir: Path, spec: TrainSpec) -> DatasetRecord:
    """The record that the run was trained with: the run's copy, else the dataset's. Raises DatasetError."""
    if RunDir(run_dir).dataset.is_file():
        return own_record(run_dir).model_copy(update={"name": spec.dataset.name})  # it may have been renamed
    record = read_record(datasets, spec.dataset.name)
    if spec.dataset.sha256 and spec.dataset.sha256 != record.sha256:
        raise DatasetDamaged(f"The dataset {record.name} is not the one that this run was trained on.")
    return record


def own_record(run_dir: Path) -> DatasetRecord:
    """The run's copy of the record. Raises OSError, pydantic.ValidationError."""
    return DatasetRecord.model_validate_json(RunDir(run_dir).dataset.read_bytes())
