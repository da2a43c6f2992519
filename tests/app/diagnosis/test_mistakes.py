"""Mistakes counted by hand: six images of three classes, two of which are one superclass."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from app.diagnosis.mistakes import as_csv, examine
from app.diagnosis.strip import prediction_strip
from app.web.runs.errors_tab import errors_tab
from trainer.data.format import DatasetRecord
from trainer.rundir.folder import RunDir

LABELS = np.array([0, 0, 1, 1, 2, 2, 0])
ROWS = [0, 1, 2, 3, 4, 5]  # the seventh image is trained on
GUESS = [0, 1, 1, 0, 2, 0]
OWN = [0.9, 0.2, 0.8, 0.1, 0.7, 0.0]
TOP = [0.9, 0.6, 0.8, 0.85, 0.7, 1.0]
FILES = ("a.png", "=1+1.png", "c.png", "d, e.png", "e.png", "f.png", "g.png")


def record(**changed: object) -> DatasetRecord:
    values = {
        "name": "d", "classes": ["cat", "dog", "car"], "superclasses": ["animal", "thing"], "fine_to_coarse": [0, 0, 1],
        "size": 32, "fit": "crop", "mean": (0, 0, 0), "std": (1, 1, 1), "train_count": 7, "test_count": 0,
        "source": "t", "sha256": {}, "created_at": datetime.now(UTC),
    }  # fmt: skip
    return DatasetRecord.model_validate(values | changed)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "artifacts" / "val"
    folder.mkdir(parents=True)
    for step in (10, 20):
        tensors: dict[str, np.ndarray] = {
            "row": np.array(ROWS, np.int32),
            "guess": np.array(GUESS if step == 20 else [0] * 6, np.int16),
            "own": np.array(OWN, np.float16),
            "top": np.array(TOP, np.float16),
        }
        (folder / f"{step:08d}.safetensors").write_bytes(safetensors.numpy.save(tensors))
    return tmp_path


def test_what_is_counted(run_dir: Path) -> None:
    seen = examine(run_dir, record(), LABELS, coarse=False, step=None)
    assert seen is not None
    assert seen.answers.step == 20
    assert seen.confusion().tolist() == [[1, 1, 0], [1, 1, 0], [1, 0, 1]]
    assert (seen.right, seen.count, seen.within_group) == (3, 6, 2)
    assert [(item.label, item.right, item.count, item.rival_label) for item in seen.classes()] == [
        ("car", 1, 2, "cat"), ("cat", 1, 2, "dog"), ("dog", 1, 2, "cat"),
    ]  # fmt: skip
    assert [(pair.label, pair.guess, pair.rows) for pair in seen.pairs(2, 4)] == [(0, 1, (1,)), (1, 0, (3,))]
    assert [item.file for item in seen.mistakes(FILES)] == ["f.png", "d, e.png", "=1+1.png"]
    assert next(seen.mistakes(FILES)).loss == pytest.approx(16.6, abs=0.1)


def test_superclasses_may_be_what_is_learned(run_dir: Path) -> None:
    seen = examine(run_dir, record(), LABELS, coarse=True, step=10)
    assert seen is not None
    assert seen.confusion().tolist() == [[4, 0], [2, 0]]
    assert seen.within_group is None


def test_nothing_answered(tmp_path: Path, run_dir: Path) -> None:
    assert examine(tmp_path / "none", record(), LABELS, coarse=False, step=None) is None
    with pytest.raises(FileNotFoundError):
        examine(run_dir, record(), LABELS, coarse=False, step=11)


def test_damaged_answers_are_as_if_they_had_not_been_kept(run_dir: Path) -> None:
    RunDir(run_dir).answers(20).write_bytes(b"")
    seen = examine(run_dir, record(), LABELS, coarse=False, step=None)
    assert seen is not None
    assert seen.answers.step == 10
    with pytest.raises(FileNotFoundError):
        examine(run_dir, record(), LABELS, coarse=False, step=20)
    strip = prediction_strip(run_dir, "train", LABELS, ["cat", "dog", "car"])
    assert strip is not None
    assert strip.steps == (10,)
    RunDir(run_dir).answers(10).write_bytes(b"")
    assert examine(run_dir, record(), LABELS, coarse=False, step=None) is None
    assert prediction_strip(run_dir, "train", LABELS, ["cat", "dog", "car"]) is None


def test_a_spreadsheet_runs_nothing(run_dir: Path) -> None:
    seen = examine(run_dir, record(), LABELS, coarse=False, step=20)
    assert seen is not None
    lines = "".join(as_csv(seen.mistakes(FILES))).splitlines()
    assert lines[0] == "row,file,label,guess,p_label,p_guess,loss"
    assert lines[2].startswith('3,"d, e.png",dog,cat,0.1000,0.8501,2.30')
    assert lines[3].startswith("1,'=1+1.png,cat,dog,0.2000,")


def test_the_tab_holds_a_cell_and_a_page(run_dir: Path) -> None:
    seen = examine(run_dir, record(), LABELS, coarse=False, step=20)
    assert seen is not None
    tab = errors_tab("r", "d", seen, FILES, (10, 20), 10, (1, 0), 1)
    assert tab.cell is not None
    assert tab.cell.rows == (3,)
    assert tab.epochs == ((10, 1), (20, 2))
    assert [sum(count for _, count in row.counts) for row in tab.matrix] == [2, 2, 2]
    assert tab.link(cell="1,0") == "/runs/r?tab=errors&step=20&cell=1%2C0"
