"""A cache of loaded models."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch

from app.prediction.members import members_of
from trainer.data.format import DatasetRecord
from trainer.exported.labels import run_record
from trainer.inference.classifier import Classifier, NoCheckpoint, candidates, load_best, load_classifier, with_settings
from trainer.inference.ensemble import ensemble_of
from trainer.rundir.checkpoints import CheckpointDamaged
from trainer.rundir.folder import RunDir
from trainer.rundir.spec import read_spec
from trainer.spec.train_spec import TrainSpec

WARM_MODELS = 4


class Models:
    """LRU cache of classifiers by run or ensemble. Not thread-safe."""

    def __init__(self, runs: Path, datasets: Path, device: torch.device) -> None:
        self._runs = runs
        self._device = device
        self._warm: OrderedDict[str, tuple[list[int], Classifier]] = OrderedDict()
        self.target: Callable[[str], tuple[TrainSpec, DatasetRecord]] = lru_cache(64)(
            lambda run: _target(runs, datasets, run)
        )

    def get(self, run: str) -> tuple[Classifier, bool]:
        """Return the run's or ensemble's classifier, and whether it had to be loaded. Raises NoCheckpoint."""
        changed = self._changed(run)
        stamp, cached = self._warm.pop(run, (None, None))
        classifier = cached if cached is not None and stamp == changed else self._load(run, cached)
        self._warm[run] = (changed, classifier)
        while len(self._warm) > WARM_MODELS:
            self._warm.popitem(last=False)
        return classifier, cached is None or classifier.model is not cached.model

    def is_warm(self, run: str) -> bool:
        return run in self._warm and self._warm[run][0] == self._changed(run)

    def _changed(self, run: str) -> list[int]:
        folders = [RunDir(self._runs / member) for member in members_of(run)]
        return [time for folder in folders for time in (_changed_at(folder.checkpoints), _settings_at(folder))]

    def _load(self, run: str, cached: Classifier | None) -> Classifier:
        if len(members := members_of(run)) > 1:
            return ensemble_of([self._load(member, None) for member in members], self.target(run)[1].size)
        folder, (spec, record) = self._runs / run, self.target(run)
        best = next(iter(candidates(folder)), None)
        if best is None:
            raise NoCheckpoint("This run has no checkpoint to predict with yet.")
        if cached is not None and cached.sha256 == best.sha256:
            return with_settings(cached, folder)
        try:
            return load_classifier(folder, best, spec, record, self._device)
        except CheckpointDamaged:
            return load_best(folder, spec, record, self._device)


def _target(runs: Path, datasets: Path, run: str) -> tuple[TrainSpec, DatasetRecord]:
    run = members_of(run)[0]  # all members have the same target
    spec = read_spec(runs / run)
    return spec, run_record(datasets, runs / run, spec)


def _settings_at(folder: RunDir) -> int:
    """When the temperature or the threshold was last written."""
    try:
        return folder.artifacts.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _changed_at(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except FileNotFoundError:
        raise NoCheckpoint("This run has no checkpoint to predict with yet.") from None
