"""A home with a dataset's record and runs that have checkpoints: all that prediction needs, in milliseconds."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import torch
from PIL import Image

from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Run, Status
from tests.conftest import wait_for
from tests.databases import settings_of
from tests.processes import children_with
from trainer.data.format import DatasetRecord, Images, read_record
from trainer.models import checkpoint
from trainer.models.build import build_model
from trainer.rundir.checkpoints import CheckpointInfo
from trainer.rundir.creation import create_run_dir
from trainer.rundir.spec import read_spec
from trainer.spec.dataset_spec import DatasetSpec
from trainer.spec.model_spec import ModelSpec
from trainer.spec.train_spec import TrainSpec

SIZE = 32
CLASSES = [f"class {i:02d}" for i in range(12)]
SUPERCLASSES = ["animals", "plants", "things"]
META: dict[str, Any] = {"id": "", "name": "tiny"}


def make_dataset(home: Path, name: str = "tiny") -> DatasetRecord:
    record = DatasetRecord(
        name=name,
        classes=CLASSES,
        superclasses=SUPERCLASSES,
        fine_to_coarse=[i % 3 for i in range(12)],
        size=SIZE,
        fit="crop",
        mean=(0.5, 0.45, 0.4),
        std=(0.25, 0.24, 0.23),
        train_count=12,
        test_count=12,
        source="test",
        sha256={},
        created_at=datetime.now(UTC),
    )
    folder = home / "datasets" / name
    folder.mkdir(parents=True)
    np.save(folder / "train.labels.npy", np.arange(len(CLASSES)))
    (folder / "dataset.json").write_text(record.model_dump_json())
    return record


def make_run(
    home: Path,
    run_id: str,
    *,
    steps: tuple[int, ...] = (10,),
    target: Literal["fine", "coarse"] = "fine",
    model: Literal["cnn", "mlp"] = "cnn",
) -> Path:
    spec = TrainSpec(dataset=DatasetSpec(name="tiny"), target=target, model=ModelSpec(name=model))
    run_dir = home / "runs" / run_id
    create_run_dir(run_dir, spec, read_record(home / "datasets", "tiny"), {**META, "id": run_id})
    for step in steps:
        add_checkpoint(run_dir, spec, step)
    return run_dir


def add_row(database: Database, settings: Settings, run_id: str, status: Status = Status.FINISHED) -> None:
    """Have the database know of a run that was made without it."""
    spec = read_spec(settings.runs / run_id)
    row = Run(
        id=run_id,
        name=run_id,
        dataset="tiny",
        model="cnn",
        spec=spec.model_dump(mode="json"),
        status=status,
        created_at=datetime.now(UTC),
        finished_at=datetime.now(UTC) if status == Status.FINISHED else None,
    )
    with database.write() as session:
        session.add(row)


def add_checkpoint(run_dir: Path, spec: TrainSpec, step: int) -> CheckpointInfo:
    torch.manual_seed(step)
    model = build_model(spec.model, len(SUPERCLASSES if spec.target == "coarse" else CLASSES), SIZE)
    for parameter in model.parameters():
        parameter.data *= 2  # so that the classes' probabilities differ clearly
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    return checkpoint.save(run_dir, tensors, {}, step=step, epoch=step // 10, metrics={}, best=True)


def random_image(seed: int, size: int = SIZE) -> Images:
    pixels: Images = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
    return pixels


def encode(image: Image.Image | Images, kind: str = "PNG", **options: Any) -> bytes:
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def settings_for(home: Path, **changes: Any) -> Settings:
    return settings_of(home, **changes)


@contextmanager
def running_predictor(settings: Settings, *, ends_by_itself: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """The real process; at the end it is asked to stop, and must have taken its children along."""
    values = settings.model_dump(exclude_unset=True)
    environment = {f"TRACKSIDE_{key.upper()}": str(value) for key, value in values.items()}
    process = subprocess.Popen([sys.executable, "-m", "app.predictor"], env={**os.environ, **environment})
    try:
        yield process
        if ends_by_itself:
            return
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        assert process.wait(10) == 0
        assert psutil.wait_procs(family, 5)[1] == []
    finally:
        process.kill()
        process.wait()


def serving_child(pid: int) -> psutil.Process:
    """The fork that serves."""
    return wait_for(lambda: children_with("app.predictor", pid), what="the predictor's child")[0]


def decoder_host(pid: int) -> psutil.Process:
    return wait_for(lambda: children_with("app.predictor.decoder", pid), what="the host of decoders")[0]
