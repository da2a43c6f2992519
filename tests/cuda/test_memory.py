"""A device with too little memory: evaluation fits in what there is, and a run that does not fit says what to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NARROW
from tests.cuda.conftest import Device, server_on
from tests.gpu.cases import Case

# Training takes 1.3 GiB at this size, evaluation of 250 images at once 5.2 GiB.
LARGE_IMAGES = {"model.name": "resnet18", "model.input_size": 224, "batch_size": 8, "max_steps": 2}
EAGER = {"compile": "off", "checks": "off"}


def test_evaluation_fits_in_the_memory_of_the_device(device: Device, shapes: Path) -> None:
    device.settings = {"FAKE_CUDA_MEMORY_MB": "3072"}
    assert device.train(shapes, Case("large", {**LARGE_IMAGES, **EAGER})) == {"large": "finished"}


# The functions that fail when memory is short, and what torch makes of it.
FAILING = {
    "cudaMalloc": "torch.OutOfMemoryError",
    "cudaLaunchKernel": "torch.AcceleratorError",
    "cublasCreate": "CUBLAS_STATUS_ALLOC_FAILED",
    "cudnnBackendExecute": "unable to find an engine",
}


@dataclass(frozen=True)
class Failure:
    """The error of a run for which memory was short, and the step that the next run of the same worker reached."""

    error: dict[str, Any]
    next_step: int


@pytest.fixture(scope="module")
def failures(library: Path, shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Failure]:
    device = Device(library, tmp_path_factory.mktemp("memory"))
    run = {"overrides": {**NARROW, **EAGER, "max_steps": 20}}
    found = {}
    with server_on(device, shapes) as server:
        server.start("web")
        server.start_worker("cuda:0")
        server.wait_status(server.launch(**run), "finished")  # the worker has tested its device by then
        for function in FAILING:
            device.fail(function)
            error = server.wait_status(server.launch(**run), "failed")["error"]
            device.fail()
            found[function] = Failure(error, server.wait_status(server.launch(**run), "finished")["step"])
    return found


@pytest.mark.timeout(180)
@pytest.mark.parametrize("function", FAILING)
def test_a_worker_trains_on_after_a_run_that_ran_out_of_memory(function: str, failures: dict[str, Failure]) -> None:
    assert failures[function].next_step == 20


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "function",
    FAILING,
)
def test_a_run_that_ran_out_of_memory_names_the_batch_size(function: str, failures: dict[str, Failure]) -> None:
    assert failures[function].error["code"] == "out_of_memory", FAILING[function]
    assert "batch_size" in failures[function].error["message"]
