"""The simulated device behaves like a GPU as far as the other tests rely on it."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import orjson
import pytest

from tests.cuda.conftest import Device


def test_torch_and_nvml_find_the_devices(device: Device) -> None:
    device.settings = {
        "FAKE_CUDA_DEVICES": "2",
        "FAKE_CUDA_MEMORY_MB": "4096",
        "FAKE_CUDA_NVML_UNSUPPORTED": "nvmlDeviceGetUtilizationRates",
    }
    found = device.script("probe")
    assert found["torch"] == {
        "count": 2,
        "name": "Simulated GPU 0",
        "bf16": True,
        "total": 4 << 30,
        "copied": True,
        "small": 3.5,
        "computed": 1,
        "too much": "OutOfMemoryError",
        "forked": False,
    }
    assert found["nvml"] == {
        "name": "Simulated GPU 1",
        "uuid": "GPU-00000000-0000-0000-0000-000000000002",
        "memory": 4 << 30,
        "utilization": "NVMLError_NotSupported",
        "temperature": "40",
    }
    assert len(device.log.processes()) == 1
    assert [event.device for event in device.log.events("context")] == [0]
    assert device.log.events("refused")


def test_cuda_visible_devices_leaves_one_device(device: Device) -> None:
    device.settings = {"FAKE_CUDA_DEVICES": "2", "CUDA_VISIBLE_DEVICES": "1"}
    found = device.script("probe")["torch"]
    assert (found["count"], found["name"]) == (1, "Simulated GPU 1")
    assert {event.device for event in device.log.events("context", "peak")} == {1}


@pytest.mark.parametrize(("visible", "found"), [(None, ["cuda:0", "cuda:1"]), ("", ["cpu"]), ("-1", ["cpu"])])
def test_doctor_lists_the_devices_that_torch_sees(device: Device, visible: str | None, found: list[str]) -> None:
    device.settings = {"FAKE_CUDA_DEVICES": "2"} | ({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    home = {"TRACKSIDE_HOME": str(device.folder / "home")}
    output = subprocess.run(
        [sys.executable, "-m", "app.cli", "doctor"],
        env={**os.environ, **device.environment, **home},
        capture_output=True,
        text=True,
    ).stdout
    devices = next(line for line in output.splitlines() if line.startswith("devices: "))
    assert re.findall(r"cuda:\d|cpu", devices) == found


def test_the_client_of_scripts_measures_the_devices(device: Device) -> None:
    device.settings |= {"FAKE_CUDA_DEVICES": "2", "FAKE_CUDA_NVML_UNSUPPORTED": "nvmlDeviceGetTemperature"}
    code = (
        "import json; from trackside.sender.gpus import Gpus\n"
        "print(json.dumps([[Gpus(v).names(), Gpus(v).sample()] for v in (None, '1', '')]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **device.environment}, check=True, capture_output=True
    )
    everything, second, none = orjson.loads(done.stdout.splitlines()[-1])
    assert everything[0] == ["Simulated GPU 0", "Simulated GPU 1"]
    assert second[0] == ["Simulated GPU 1"]
    assert second[1].keys() == {"gpu1/utilization_percent", "gpu1/memory_mb"}
    assert second[1]["gpu1/utilization_percent"] == 50
    assert none == [[], {}]
