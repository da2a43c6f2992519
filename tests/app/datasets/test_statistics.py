"""The process that computes a dataset's statistics."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil
import pytest

from app.datasets.statistics import DatasetStatistics
from tests.conftest import wait_for
from tests.processes import children_with
from trainer.data.format import read_record


def surveys() -> list[psutil.Process]:
    return children_with("trainer.data.survey")


def test_closing_ends_a_computation(tmp_path: Path, shapes: Path) -> None:
    statistics = DatasetStatistics(shapes, tmp_path)
    record = read_record(shapes, "shapes100")
    assert statistics.of(record) is None
    assert not statistics.measuring(record)  # a look starts nothing
    statistics.begin(record)
    (process,) = wait_for(surveys, 10, "the process")
    statistics.close()
    assert process.wait(5) is not None or not process.is_running()
    assert not statistics.failed(record)
    wait_for(lambda: not surveys(), 5, "the end of every process")


def test_a_computation_ends_with_its_dataset(tmp_path: Path, shapes: Path) -> None:
    """A dataset that is deleted and added again is measured again, and the end of the first attempt is no failure."""
    root, cache = tmp_path / "datasets", tmp_path / "cache"
    shutil.copytree(shapes / "shapes100", root / "mine")
    statistics = DatasetStatistics(root, cache)
    record = read_record(root, "mine")
    statistics.begin(record)
    wait_for(surveys, 10, "the process")
    (root / "mine").rename(root / ".deleted-mine")
    statistics.forget(record)
    wait_for(lambda: not surveys(), 10, "the end of the process")
    assert not statistics.failed(record)

    (root / ".deleted-mine").rename(root / "ours")
    renamed = read_record(root, "ours")
    statistics.begin(renamed)
    wait_for(lambda: statistics.of(renamed), 60, "the statistics")
    assert list((cache / "statistics").iterdir())
    statistics.forget(record)  # renamed: the content is still there
    assert statistics.of(renamed) is not None
    shutil.rmtree(root / "ours")
    statistics.forget(renamed)
    assert not list((cache / "statistics").iterdir())
    statistics.close()


def test_a_failure_is_tried_again(tmp_path: Path, shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "datasets"
    root.mkdir()
    statistics = DatasetStatistics(root, tmp_path / "cache")
    record = read_record(shapes, "shapes100")
    statistics.begin(record)
    wait_for(lambda: statistics.failed(record), 30, "the failure")
    (root / "shapes100").symlink_to(shapes / "shapes100")
    statistics.begin(record)
    assert statistics.failed(record), "it is tried again after a while, not at each request"
    monkeypatch.setattr("app.datasets.statistics.RETRY_SECONDS", 0.0)
    statistics.begin(record)
    wait_for(lambda: statistics.of(record), 60, "the statistics")
    assert not statistics.failed(record)
    statistics.close()
