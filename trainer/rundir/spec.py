"""The spec of a run, and the extensions that users requested after it was written. Free of torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer.rundir.folder import RunDir
from trainer.rundir.journal import read_journal
from trainer.spec.model_spec import PUBLISHED
from trainer.spec.part import STORED
from trainer.spec.train_spec import TrainSpec


def read_spec(run_dir: Path) -> TrainSpec:
    """Read the spec as it was queued, with the present name of its dataset, which may have been renamed since."""
    spec = TrainSpec.model_validate_json(RunDir(run_dir).spec.read_bytes(), context=STORED)
    names = [line["dataset"] for line in read_journal(run_dir) if line.get("e") == "meta" and "dataset" in line]
    if not names:
        return spec
    return spec.model_copy(update={"dataset": spec.dataset.model_copy(update={"name": str(names[-1])})})


def weights_file(spec: TrainSpec) -> Path | None:
    """The file of weights that the network starts with. None: it starts with published weights, or with none."""
    return None if spec.model.weights in ("none", *PUBLISHED) else Path(spec.model.weights)


def with_sent_weights(run_dir: Path, spec: TrainSpec) -> TrainSpec:
    """The spec with the path that its file of weights has on this node. At home, the spec as it is."""
    file = weights_file(spec)
    if file is None or not (sent := RunDir(run_dir).sent_weights / file.name).exists():
        return spec
    return spec.model_copy(update={"model": spec.model.model_copy(update={"weights": str(sent)})})


def extensions(run_dir: Path) -> list[dict[str, Any]]:
    """Return the extensions that users requested: `epochs`, `schedule` (a ScheduleSpec as JSON) and `lr`."""
    requests = [line for line in read_journal(run_dir) if line.get("e") == "resume" and line.get("extend_epochs")]
    if not requests:
        return []
    spec = read_spec(run_dir)
    defaults = {"schedule": spec.schedule.model_dump(mode="json"), "lr": spec.optimizer.lr}
    return [{"epochs": line["extend_epochs"], **defaults, **(line.get("extension") or {})} for line in requests]
