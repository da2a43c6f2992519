"""A run's best model as a file to download (trainer/exported/portable.py), written once and kept in a cache."""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass
from pathlib import Path

from app.errors import ApiError
from app.runs.public import CheckpointPublic
from app.runs.runs import Runs
from app.settings import Settings
from app.storage.tables import Status
from trainer.data.pixels import pixels_of
from trainer.exported.labels import Labels, run_record
from trainer.exported.portable import Packing, Portable, PortableDamaged, plan_packing, write_packing
from trainer.rundir.calibration import read_calibration
from trainer.rundir.spec import read_spec

SUFFIX = ".safetensors"
KEPT_SECONDS = 3600.0  # a superseded file may still be downloading: it is kept for this long


@dataclass(frozen=True)
class ModelFile:
    """`path` is where the file is or will be written; `size` is its size in bytes."""

    about: Portable
    checkpoint: Path
    packing: Packing
    path: Path

    @property
    def size(self) -> int:
        return self.packing.size


class ModelFiles:
    def __init__(self, runs: Runs, settings: Settings) -> None:
        self._runs = runs
        self._datasets = settings.datasets
        self.cache = settings.model_cache

    def planned(self, run_id: str) -> ModelFile:
        """Return what would be written. Raises ApiError 404; 409: no checkpoint, or it is damaged; DatasetError."""
        chosen = self._runs.answering_checkpoint(run_id)
        if chosen is None:
            raise ApiError(409, "no_checkpoint", "This run has no checkpoint to download yet.")
        about = self._about(run_id, chosen)
        checkpoint = self._runs.checkpoint_file(run_id, chosen.step)
        try:
            packing = plan_packing(checkpoint, about)
        except (PortableDamaged, FileNotFoundError) as error:
            raise ApiError(409, "checkpoint_damaged", str(error)) from None
        head_hash = hashlib.sha256(packing.head).hexdigest()[:8]  # differs if metrics were added after the weights
        path = self.cache / run_id / f"{chosen.sha256[:16]}-{head_hash}{SUFFIX}"
        return ModelFile(about, checkpoint, packing, path)

    def file(self, run_id: str) -> ModelFile:
        """As `planned`, and write the file if it does not exist. Raises the same errors."""
        found = self.planned(run_id)
        if not found.path.exists():
            try:
                write_packing(found.checkpoint, found.about.checkpoint_sha256, found.packing, found.path)
            except (PortableDamaged, FileNotFoundError) as error:
                raise ApiError(409, "checkpoint_damaged", str(error)) from None
            self._drop_older(found.path)
        return found

    def _about(self, run_id: str, chosen: CheckpointPublic) -> Portable:
        run, folder = self._runs.get(run_id), self._runs.folder(run_id)
        spec = read_spec(folder)
        record = run_record(self._datasets, folder, spec)
        labels = Labels.of(spec, record)
        tested = {name: value for name, value in run.summary.items() if name.startswith("test/")}
        measured = {**chosen.metrics, **(tested if run.status == Status.FINISHED else {})}
        calibration = read_calibration(folder, chosen.step)
        pixels = pixels_of(spec, record)
        return Portable(
            model=spec.model.without_weights(),  # their path may name a folder of this machine
            classes=list(labels.names),
            superclasses=None if labels.superclasses is None else list(labels.superclasses),
            size=record.size,
            input_size=spec.model.input_size or record.size,
            fit=record.fit,
            mean=pixels.mean,
            std=pixels.std,
            interpolation=pixels.interpolation,
            dataset=record.name,
            target=spec.target,
            run=run_id,
            step=chosen.step,
            epoch=chosen.epoch,
            checkpoint_sha256=chosen.sha256,
            temperature=None if calibration is None else calibration.temperature,
            measured={k: float(v) for k, v in measured.items() if isinstance(v, int | float) and math.isfinite(v)},
        )

    def _drop_older(self, kept: Path) -> None:
        for path in kept.parent.glob("[!.]*"):
            if path.stem != kept.stem and time.time() - path.stat().st_mtime > KEPT_SECONDS:
                path.unlink(missing_ok=True)
