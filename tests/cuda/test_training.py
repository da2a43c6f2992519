"""Runs and predictions on the simulated device, with the real processes."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from tests.conftest import ENDLESS, NARROW, wait_for
from tests.cuda.conftest import CudaServer

EAGER = {**NARROW, "epochs": 2, "compile": "off"}


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (200, 40, 40)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.timeout(180)
def test_only_trainers_and_the_serving_predictor_initialize_cuda(cuda_server: CudaServer) -> None:
    cuda_server.start("web", "predictor", TRACKSIDE_PREDICTOR_DEVICE="cuda:0")
    cuda_server.start_worker("cuda:0")
    run_id = cuda_server.launch(overrides=EAGER)
    trainer = wait_for(lambda: cuda_server.trainer_pid(run_id), what="a trainer")
    assert cuda_server.wait_status(run_id, "finished")["step"] == 112
    with cuda_server.client() as client:

        def predicts() -> bool:
            answer = client.post("/api/predict", params={"model": run_id}, files={"file": ("a.png", png())})
            return answer.status_code == 200

        wait_for(predicts, what="a prediction")
    parents = {process.pid for process in cuda_server.processes.values()}
    initialized = cuda_server.device.log.processes()
    assert trainer in initialized
    assert initialized & cuda_server.children("predictor")
    assert initialized & {*parents, cuda_server.fork_server("cuda:0")} == set()
    assert cuda_server.device.log.events("forked") == []


@pytest.mark.timeout(180)
def test_two_runs_train_at_once_on_two_devices(cuda_server: CudaServer) -> None:
    cuda_server.device.settings["FAKE_CUDA_DEVICES"] = "2"
    cuda_server.start("web")
    runs = [cuda_server.launch(overrides={**NARROW, **ENDLESS, "checks": "off"}) for _ in range(2)]
    for device in ("cuda:0", "cuda:1"):
        cuda_server.start_worker(device)
    for run_id in runs:
        cuda_server.wait_step(run_id, 60)
    assert [cuda_server.run(run_id)["status"] for run_id in runs] == ["running", "running"]
    assert {cuda_server.run(run_id)["device"] for run_id in runs} == {"cuda:0", "cuda:1"}
    for run_id in runs:
        index = int(cuda_server.run(run_id)["device"].removeprefix("cuda:"))
        assert cuda_server.device.log.peak(index, cuda_server.trainer_pid(run_id))
    for run_id in runs:
        cuda_server.stop_run(run_id)
