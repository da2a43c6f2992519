"""Fixtures of the tests on a GPU. Where there is none that can be trained on, they are skipped with the reason."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import torch

from app.host.devices import devices_in_words, find_devices
from tests.gpu.setup import DEVICE, is_dry_run
from tests.gpu.suite import NOT_JUDGED


@pytest.fixture(scope="session")
def reason_without_gpu() -> str | None:
    found = find_devices()
    if any(device.name.startswith("cuda") and device.problem is None for device in found.all):
        return None
    return " ".join(devices_in_words(found)) or "no GPU"


@pytest.fixture
def gpu(reason_without_gpu: str | None) -> torch.device:
    if reason_without_gpu is not None:
        pytest.skip(reason_without_gpu)
    return torch.device(os.environ.get(DEVICE, "cuda:0"))


@pytest.fixture
def computed() -> Callable[[], None]:
    """To be called before the first assertion on what the GPU has computed: the simulated device computes nothing."""

    def computed() -> None:
        if is_dry_run():
            pytest.skip(f"{NOT_JUDGED}: the simulated device computes nothing")

    return computed
