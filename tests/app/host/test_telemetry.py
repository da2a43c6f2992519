"""Samples of a device: read, kept, pruned, and drawn without bridging the time in which nobody looked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pynvml
import pytest
from sqlmodel import select

from app.display.trace import trace_path
from app.host.probes import CpuProbe, Reading, probe_of
from app.host.samples import HOUR, WEEK, samples
from app.host.telemetry import Recorder, mean
from app.storage.db import Database
from app.storage.tables import DeviceSample
from app.web.system.view import sampled_devices
from tests.databases import new_database


class Steady:
    def read(self) -> Reading:
        return Reading(utilisation=0.5, memory=2**30, memory_total=2**32, temperature=50.0)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = new_database(tmp_path / "t.db")
    yield database
    database.close()


def test_the_machine_is_read() -> None:
    reading = CpuProbe().read()
    assert 0 <= reading.utilisation <= 1
    assert 0 < reading.memory < reading.memory_total


def test_a_processor_is_read_from_any_thread() -> None:
    """A seat of a node answers each question in another thread."""
    probe = CpuProbe()
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        one.submit(probe.read).result()
        began, used = time.monotonic(), time.process_time()
        while time.process_time() < used + 0.3:
            pass
        seconds = (time.monotonic() - began) * (psutil.cpu_count() or 1)
        found = other.submit(probe.read).result().utilisation
    assert found > 0.2 / seconds


def test_a_gpu_that_tells_nothing_leaves_the_machine() -> None:
    assert isinstance(probe_of("cuda:63"), CpuProbe)
    assert isinstance(probe_of("cpu"), CpuProbe)


class Silent:
    """Answers as a MIG instance does when its utilization is asked for."""

    def read(self) -> Reading:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


def test_a_device_that_cannot_be_sampled_is_told_of_once(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder("here", "cuda:0", Silent())
    for now in (1_800_000_000.0, 1_800_000_100.0):
        with database.write() as session:
            recorder.record(session, now)
    with database.read() as session:
        assert session.exec(select(DeviceSample)).all() == []
    assert [record.message for record in caplog.records] == ["cuda:0 cannot be sampled"]


def test_samples_are_kept_an_hour_and_means_of_minutes_a_week(database: Database) -> None:
    now = 1_800_000_010.0
    recorder = Recorder("here", "cpu", Steady())
    for _ in range(200):
        with database.write() as session:
            recorder.record(session, now)
        now += 30
    with database.read() as session:
        fine, coarse = samples(session, "here", "cpu", HOUR, now), samples(session, "here", "cpu", 2 * HOUR, now)
        assert len(fine) == HOUR / 30 - 1
        assert 98 <= len(coarse) <= 101
        assert {row.utilisation for row in coarse} == {0.5}
    now += WEEK + HOUR
    for _ in range(4):
        with database.write() as session:
            recorder.record(session, now)
        now += 30
    with database.read() as session:
        assert len(session.exec(select(DeviceSample)).all()) <= 6


def test_samples_of_a_device_that_is_gone_are_deleted(database: Database) -> None:
    now = 1_800_000_010.0
    for host, device in (("here", "cuda:7"), ("an old container", "cpu")):
        gone = Recorder(host, device, Steady())
        for seconds in (0, 70):
            with database.write() as session:
                gone.record(session, now + seconds)
    now += WEEK + HOUR
    recorder = Recorder("here", "cpu", Steady())
    for seconds in (0, 70):
        with database.write() as session:
            recorder.record(session, now + seconds)
    with database.read() as session:
        assert {(row.host, row.device) for row in session.exec(select(DeviceSample)).all()} == {("here", "cpu")}


def test_a_mean_leaves_out_temperatures_that_are_not_known() -> None:
    cold = Reading(utilisation=0.0, memory=0, memory_total=4)
    assert mean([cold, Steady().read()]) == Reading(utilisation=0.25, memory=2**29, memory_total=2**32, temperature=50)


def test_a_line_is_broken_where_nothing_was_sampled() -> None:
    times = [0.0, 2.0, 4.0, 60.0, 62.0]
    path = trace_path(times, [0.1, 0.9, 0.5, 0.2, 0.4], 0.0, 100.0, 1.0, 10.0, width=100, height=10)
    assert path.count("M") == 2
    assert path.startswith("M0 9.0L2 1.0L4 5.0M60")


def test_extremes_survive_where_samples_share_a_pixel() -> None:
    times = [index / 10 for index in range(100)]
    values: list[float | None] = [0.5] * 100
    values[43], values[47] = 1.0, 0.0
    path = trace_path(times, values, 0.0, 10.0, 1.0, 10.0, width=10, height=10)
    assert "L4 10.0" in path
    assert "L4 0.0" in path


def test_devices_are_those_sampled_lately(database: Database) -> None:
    recorder = Recorder("here", "cpu", Steady())
    with database.write() as session:
        recorder.record(session, time.time())
    (series,) = sampled_devices(database, "hour")
    assert (series.device, series.utilisation, series.memory, series.temperature) == ("cpu", [0.5], [2**30], [50.0])
