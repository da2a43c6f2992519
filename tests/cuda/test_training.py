"""Runs and predictions on the simulated device, with the real processes."""

from __future__ import annotations

from tests.conftest import NARROW
from tests.cuda.conftest import CudaServer

EAGER = {**NARROW, "epochs": 2, "compile": "off"}


def test_a_run_trains_on_the_device_to_its_end(cuda_server: CudaServer) -> None:
    cuda_server.start("web")
    cuda_server.start_worker("cuda:0")
    run = cuda_server.wait_status(cuda_server.launch(overrides=EAGER), "finished")
    assert run["step"] == 112
    assert cuda_server.device.log.peak(0)
