"""Which devices a machine has: what CUDA_VISIBLE_DEVICES hides is not used."""

from __future__ import annotations

import pytest

from app.host import devices


@pytest.mark.parametrize(
    ("variable", "shown"),
    [
        ("", []),
        ("-1", []),
        ("2,0", ["2", "0"]),
        (" 1 , 2 ", ["1", "2"]),
        ("0,-1,1", ["0"]),
        ("GPU-5ebe9d51,MIG-0c2c1d24", ["GPU-5ebe9d51", "MIG-0c2c1d24"]),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_reads_it(
    monkeypatch: pytest.MonkeyPatch, variable: str, shown: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert devices.visible_gpus() == shown
    assert devices.find_devices("auto") == ([f"cuda:{index}" for index in range(len(shown))] or ["cpu"])


def test_a_machine_without_nvidia_driver_has_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices.find_devices("auto") == ["cpu"]
    assert devices.find_devices("0") == []
    assert devices.describe_device("cuda:0") == "cuda:0"
    assert devices.describe_device("cpu").endswith("cores")
