"""A worker trains on its device only once a process of its own has computed on it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import select

from app.host.gpu_test import RETRY_SECONDS, DeviceTest
from app.storage.db import Database
from app.storage.tables import Run, Worker
from app.worker.loop import WorkerLoop
from tests.app.jobs.test_queue_machine import NoTrainers
from tests.conftest import wait_for
from tests.databases import settings_of
from trainer.system.gpus import Gpu, GpuReport


def says(report: GpuReport) -> list[str]:
    return [sys.executable, "-c", f"print({report.model_dump_json()!r})"]


GOOD = says(GpuReport(gpus=[Gpu(name="H100"), Gpu(name="T4")]))
BAD = says(GpuReport(gpus=[Gpu(name="GTX 1080", problem="its compute capability 6.1 is not supported")]))
OLD_DRIVER = says(GpuReport(problem="NVIDIA's driver is too old"))
ENDS = [sys.executable, "-c", "import os; os.abort()"]


def result_of(test: DeviceTest) -> str | None:
    wait_for(lambda: test.look(0.0) or test.problem is not None, what="the result of the test")
    return test.problem


def test_a_cpu_needs_no_test() -> None:
    assert DeviceTest("cpu", ENDS).look(0.0)


@pytest.mark.parametrize(
    ("device", "command", "problem"),
    [
        ("cuda:0", GOOD, None),
        ("cuda:1", GOOD, None),
        ("cuda", GOOD, None),
        ("cuda:MIG-0c2c1d24", GOOD, None),
        ("cuda:2", GOOD, "PyTorch sees 2 GPUs here: is CUDA_VISIBLE_DEVICES set as it should be?"),
        ("cuda:0", BAD, "its compute capability 6.1 is not supported"),
        ("cuda:0", OLD_DRIVER, "NVIDIA's driver is too old"),
        ("cuda:0", ENDS, "the test of the GPUs ended with status -6 and no answer"),
    ],
)
def test_a_device_passes_or_says_why_not(device: str, command: list[str], problem: str | None) -> None:
    test = DeviceTest(device, command)
    assert result_of(test) == problem
    assert test.passed == (problem is None)


def test_an_instance_is_the_only_visible_device_of_its_test() -> None:
    report = "print('{\"problem\": \"' + __import__('os').environ['CUDA_VISIBLE_DEVICES'] + '\"}')"
    assert result_of(DeviceTest("cuda:MIG-0c2c1d24", [sys.executable, "-c", report])) == "MIG-0c2c1d24"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(settings_of(tmp_path).url)
    database.migrate()
    yield database
    database.close()


def test_a_worker_whose_device_fails_claims_nothing_and_says_why(tmp_path: Path, database: Database) -> None:
    settings = settings_of(tmp_path)
    (settings.runs / "r").mkdir(parents=True)
    with database.write() as session:
        session.add(Run(id="r", name="r", dataset="d", preset="p", model="m", spec={}))
    test = DeviceTest("cuda:0", BAD)
    worker = WorkerLoop(settings, database, "cuda:0", NoTrainers(), test)
    clock = iter(range(0, 10**6, 2))  # a heartbeat at each look

    def told() -> bool:
        worker.tick(float(next(clock)))
        return test.problem is not None

    wait_for(told, what="the result of the test")
    worker.tick(float(next(clock)))
    with database.read() as session:
        assert session.exec(select(Run)).one().attempt == 0
        assert session.exec(select(Worker)).one().description == "not used: its compute capability 6.1 is not supported"

    test._command = GOOD  # the GPU can be used from now on
    later = iter(range(int(RETRY_SECONDS) + 10**6, 10**8, 2))

    def claimed() -> bool:
        worker.tick(float(next(later)))
        with database.read() as session:
            return session.exec(select(Run)).one().attempt > 0

    wait_for(claimed, what="the claim")
    worker.end()
