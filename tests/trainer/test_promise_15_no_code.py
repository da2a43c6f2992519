"""Promise 15: no file that is read as a model or as data executes code.

A pickle that would create a marker file is put in the place of each file.
"""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch

from tests.app.predictor.predict_home import CLASSES, make_dataset, make_run
from trainer.data.errors import DatasetError, ImageError
from trainer.data.fit import read_image
from trainer.data.format import open_split
from trainer.exported.labels import run_record
from trainer.exported.portable import PortableDamaged
from trainer.inference.classifier import NoCheckpoint, load_best
from trainer.inference.rebuild import open_file
from trainer.models import checkpoint
from trainer.models.build import build_model
from trainer.rundir.checkpoints import list_checkpoints
from trainer.rundir.folder import RunDir
from trainer.rundir.spec import read_spec
from trainer.spec.model_spec import ModelSpec


class Canary:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "ran"


def test_the_canary_would_leave_its_mark(mark: Path) -> None:
    pickle.loads(pickle.dumps(Canary(mark)))
    assert mark.exists()


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
@pytest.mark.parametrize("by_torch", [True, False])
def test_promise_15_a_file_of_weights(tmp_path: Path, mark: Path, suffix: str, by_torch: bool) -> None:
    path = tmp_path / f"weights{suffix}"
    if by_torch:
        torch.save({"weight": Canary(mark)}, path)
    else:
        path.write_bytes(pickle.dumps({"weight": Canary(mark)}))
    with pytest.raises(ValueError, match=r"model\.weights"):
        build_model(ModelSpec(name="torchvision:resnet18", weights=str(path)), 10, 32, pretrained=True)
    assert not mark.exists()


def test_promise_15_a_checkpoint_whose_hash_is_right(tmp_path: Path, mark: Path) -> None:
    make_dataset(tmp_path)
    run_dir = make_run(tmp_path, "f13e000000")
    (info,) = list_checkpoints(run_dir)
    data = pickle.dumps(Canary(mark))
    RunDir(run_dir).weights(info.step).write_bytes(data)
    told = info.model_copy(update={"sha256": hashlib.sha256(data).hexdigest()})
    RunDir(run_dir).sidecar(info.step).write_text(told.model_dump_json())
    spec = read_spec(run_dir)
    with pytest.raises((NoCheckpoint, safetensors.SafetensorError, ValueError)):
        load_best(run_dir, spec, run_record(tmp_path / "datasets", run_dir, spec), torch.device("cpu"))
    assert checkpoint.load_last_good(run_dir)[0] is None
    assert not mark.exists()


def test_promise_15_a_model_that_was_taken_away(tmp_path: Path, mark: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Canary(mark)))
    with pytest.raises(PortableDamaged):
        open_file(path, torch.device("cpu"))
    assert not mark.exists()


@pytest.mark.parametrize("which", ["images", "labels"])
def test_promise_15_the_arrays_of_a_data_set(tmp_path: Path, mark: Path, which: str) -> None:
    make_dataset(tmp_path)
    folder = tmp_path / "datasets" / "tiny"
    np.save(folder / "test.images.npy", np.zeros((12, 32, 32, 3), np.uint8))
    np.save(folder / "test.labels.npy", np.arange(12) % len(CLASSES))
    np.save(folder / f"test.{which}.npy", np.array([Canary(mark)], object), allow_pickle=True)
    with pytest.raises(DatasetError):
        open_split(tmp_path / "datasets", "tiny", "test")
    assert not mark.exists()


def test_promise_15_an_image(mark: Path) -> None:
    with pytest.raises(ImageError):
        read_image(pickle.dumps(Canary(mark)), 32, "crop")
    assert not mark.exists()
