"""Creation of a run's directory. Free of torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from trainer.rundir.folder import RunDir
from trainer.rundir.hold import Hold, hold
from trainer.rundir.journal import journal
from trainer.spec.train_spec import TrainSpec
from trainer.system.durable import sync_folder, write_durably


def create_run_dir(
    run_dir: Path,
    spec: TrainSpec,
    record: BaseModel,
    meta: dict[str, Any],
    initial_weights: bytes | None = None,
    held: Hold | None = None,
) -> None:
    """Create a run's directory; it is durable when this returns. Raises FileExistsError.

    `held` has the run stop there. The dataset's record is stored with the run, so that its model can still be used
    once the dataset is deleted.
    """
    run = RunDir(run_dir)
    run_dir.mkdir(parents=True)
    run.make_folders()
    if initial_weights is not None:
        write_durably(run.initial_weights, initial_weights)
    write_durably(run.dataset, record.model_dump_json(indent=1).encode())
    write_durably(run.spec, spec.model_dump_json(indent=1).encode())
    if held is not None:
        hold(run_dir, held)
    journal(run_dir, "meta", **meta)
    write_durably(run.committed, b"")
    sync_folder(run_dir.parent)
