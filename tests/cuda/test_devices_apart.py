"""A run uses its own device and no other."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import NARROW
from tests.cuda.conftest import Device
from tests.gpu.cases import Case

CUDA_1 = Case("second", {**NARROW, "epochs": 1, "optimizer.ema": 0.99}, device="cuda:1", stop_at=20)


def test_a_run_on_the_second_device_does_not_touch_the_first(device: Device, shapes: Path) -> None:
    device.settings = {"FAKE_CUDA_DEVICES": "2"}
    assert device.train(shapes, CUDA_1) == {"second": "finished"}
    assert device.log.peak(1)
    assert {event.device for event in device.log.events("context", "peak", "copy", "wait")} == {1}
