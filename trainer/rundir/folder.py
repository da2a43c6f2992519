"""The run directory, which is the truth about a run: its spec and the journal of what people asked. Free of torch.

spec.json   the TrainSpec, never rewritten      meta.jsonl  what people added and asked, a line each
committed   empty; without it the run was never answered for
events/<attempt>.jsonl  checkpoints/  artifacts/  lock  owner  output.log
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from trainer.rundir.journal import journal, read_journal
from trainer.spec.train_spec import TrainSpec
from trainer.system.durable import sync_folder, write_durably

PAUSE_FILE = "pause"  # there while the run is asked to save and queue again
WIND_DOWN_FILE = "wind-down"  # there while an early, annealed end is asked for
PREDICTIONS_FILE = "predictions.csv"  # in the directory of a task that classified images, once it is done


def create_run_dir(
    run_dir: Path, spec: TrainSpec, record: BaseModel, meta: dict[str, Any], initial_weights: bytes | None = None
) -> None:
    """Write a new run's directory, durable before this returns. Raises FileExistsError.

    The data set's record is kept with the run, so that its model still classifies when the data set is gone.
    """
    run_dir.mkdir(parents=True)
    for folder in ("events", "checkpoints", "artifacts"):
        (run_dir / folder).mkdir()
    if initial_weights is not None:
        write_durably(run_dir / "initial.safetensors", initial_weights)
    write_durably(run_dir / "dataset.json", record.model_dump_json(indent=1).encode())
    write_durably(run_dir / "spec.json", spec.model_dump_json(indent=1).encode())
    journal(run_dir, "meta", **meta)
    write_durably(run_dir / "committed", b"")
    sync_folder(run_dir.parent)


def read_spec(run_dir: Path) -> TrainSpec:
    return TrainSpec.model_validate_json((run_dir / "spec.json").read_bytes())


def extensions(run_dir: Path) -> list[dict[str, Any]]:
    """What people added to the run after its spec was written: `epochs`, `schedule` (of a ScheduleSpec) and `lr`."""
    asked = [line for line in read_journal(run_dir) if line.get("e") == "resume" and line.get("extend_epochs")]
    if not asked:
        return []
    spec = read_spec(run_dir)
    usual = {"schedule": spec.schedule.model_dump(mode="json"), "lr": spec.optimizer.lr}
    return [{"epochs": line["extend_epochs"], **usual, **(line.get("extension") or {})} for line in asked]
