"""Runs and predictions on the simulated device, with the real processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ENDLESS, NARROW, wait_for
from tests.cuda.conftest import CudaServer, Device, server_on


@dataclass(frozen=True)
class Trained:
    """A server with a finished run, and the process that trained it."""

    server: CudaServer
    run: str
    trainer: int


@pytest.fixture(scope="module")
def trained(library: Path, shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    with server_on(Device(library, tmp_path_factory.mktemp("training")), shapes) as server:
        server.start("web", "predictor", TRACKSIDE_PREDICTOR_DEVICE="cuda:0")
        server.start_worker("cuda:0")
        run_id = server.launch(overrides={**NARROW, "epochs": 2})
        trainer = wait_for(lambda: server.trainer_pid(run_id), what="a trainer")
        assert server.wait_status(run_id, "finished")["step"] == 112
        yield Trained(server, run_id, trainer)


@pytest.mark.timeout(180)
def test_only_trainers_and_the_serving_predictor_initialize_cuda(trained: Trained) -> None:
    server, log = trained.server, trained.server.device.log
    wait_for(lambda: server.predicts(trained.run), what="a prediction")
    parents = {process.pid for process in server.processes.values()}
    assert trained.trainer in log.processes()
    assert log.processes() & server.children("predictor")
    assert log.processes() & {*parents, server.fork_server("cuda:0")} == set()
    assert log.events("forked") == []


@pytest.mark.timeout(180)
def test_the_predictor_answers_again_after_an_error_that_makes_cuda_unusable(trained: Trained) -> None:
    server = trained.server
    wait_for(lambda: server.predicts(trained.run), what="a prediction")
    server.device.fail("illegal address")
    wait_for(lambda: not server.predicts(trained.run), what="an error")
    server.device.fail()
    wait_for(lambda: server.predicts(trained.run), 20, "a prediction of another process")


@pytest.mark.timeout(180)
def test_two_runs_train_at_once_on_two_devices(cuda_server: CudaServer) -> None:
    cuda_server.device.settings = {
        "FAKE_CUDA_DEVICES": "2",
        "FAKE_CUDA_NVML_UNSUPPORTED": "nvmlDeviceGetUtilizationRates nvmlDeviceGetTemperature",  # as for MIG instances
    }
    cuda_server.start("web")
    runs = [cuda_server.launch(overrides={**NARROW, **ENDLESS, "checks": "off"}) for _ in range(2)]
    for device in ("cuda:0", "cuda:1"):
        cuda_server.start_worker(device)
    for run_id in runs:
        cuda_server.wait_step(run_id, 60)
    assert [cuda_server.run(run_id)["status"] for run_id in runs] == ["running", "running"]
    assert {cuda_server.run(run_id)["device"] for run_id in runs} == {"cuda:0", "cuda:1"}
    with cuda_server.client() as client:
        workers = client.get("/api/system").json()["workers"]
    assert [worker["description"] for worker in workers] == ["Simulated GPU 0", "Simulated GPU 1"]
    for run_id in runs:
        index = int(cuda_server.run(run_id)["device"].removeprefix("cuda:"))
        assert cuda_server.device.log.peak(index, cuda_server.trainer_pid(run_id))
    for run_id in runs:
        cuda_server.stop_run(run_id)
