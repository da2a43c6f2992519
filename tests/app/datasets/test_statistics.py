"""The process that computes a dataset's statistics."""

from __future__ import annotations

from pathlib import Path

import psutil

from app.datasets.statistics import DatasetStatistics
from tests.conftest import wait_for
from trainer.data.format import read_record


def surveys() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "trainer.data.survey" in child.cmdline()]


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


def test_a_failure_is_told_of(tmp_path: Path, shapes: Path) -> None:
    statistics = DatasetStatistics(tmp_path / "nowhere", tmp_path)
    record = read_record(shapes, "shapes100")
    statistics.begin(record)
    wait_for(lambda: statistics.failed(record), 30, "the failure")
    statistics.begin(record)  # too early for another try
    assert statistics.failed(record)
    assert statistics.of(record) is None
    statistics.close()
