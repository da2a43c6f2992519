"""Which devices a machine has: what CUDA_VISIBLE_DEVICES hides is not used."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from app.environment import DeviceName
from app.host import devices
from app.host.devices import Gpu, separate_entries, visible_gpus

ONE, TWO, THREE = Gpu("GPU-5ebe9d51-1"), Gpu("GPU-5ebe9d51-2"), Gpu("GPU-77aa")
SPLIT = Gpu("GPU-33bb", ("MIG-0c2c1d24", "MIG-9d1f0a77"))


@pytest.mark.parametrize(
    ("variable", "gpus", "visible"),
    [
        (None, [], []),
        (None, [ONE, TWO], ["0", "1"]),
        # nothing visible
        ("", [ONE, TWO], []),
        (" ", [ONE, TWO], []),
        ("-1", [ONE, TWO], []),
        ("none", [ONE, TWO], []),
        ("NoDevFiles", [ONE, TWO], []),
        ("void", [ONE, TWO], []),
        ("all", [ONE, TWO], []),
        ("GPU-", [ONE, TWO], []),
        ("MIG-0c2c1d24", [ONE, TWO], []),
        # left over where there is no such GPU
        ("0", [], []),
        ("0,1,2,3", [], []),
        ("GPU-5ebe9d51-1", [], []),
        ("MIG-GPU-33bb/1/0", [], []),
        ("0,1,2", [ONE, TWO], ["0", "1"]),
        ("2,0", [ONE, TWO], []),
        # numbers
        ("0", [ONE, TWO], ["0"]),
        ("2,0", [ONE, TWO, THREE], ["2", "0"]),
        (" 1 , 2 ", [ONE, TWO, THREE], ["1", "2"]),
        ("+1", [ONE, TWO], ["1"]),
        ("1gpu,0x", [ONE, TWO], ["1", "0"]),
        ("0,-1,1", [ONE, TWO], ["0"]),
        ("1,,0", [ONE, TWO], ["1"]),
        ("0,none,1", [ONE, TWO], ["0"]),
        ("0,0", [ONE, TWO], []),
        ("0,1,0", [ONE, TWO], []),
        ("99999999999999999999", [ONE, TWO], []),
        # UUIDs, or the start of one
        ("GPU-77aa,GPU-5ebe9d51-1", [ONE, TWO, THREE], ["2", "0"]),
        ("GPU-7", [ONE, TWO, THREE], ["2"]),
        ("GPU-5ebe9d51", [ONE, TWO, THREE], []),
        ("GPU-77aa,GPU-5ebe9d51", [ONE, TWO, THREE], ["2"]),
        ("GPU-77aa,GPU-77aa", [ONE, TWO, THREE], []),
        ("GPU-77aa,0", [ONE, TWO, THREE], ["2"]),
        ("0,GPU-77aa", [ONE, TWO, THREE], ["0"]),
        # CUDA sees a single MIG instance
        ("MIG-9d1f0a77", [SPLIT], ["MIG-9d1f0a77"]),
        ("MIG-9d1f0a77,MIG-0c2c1d24", [SPLIT], ["MIG-9d1f0a77"]),
        ("MIG-GPU-33bb/1/0", [SPLIT], ["MIG-GPU-33bb/1/0"]),
        ("MIG-GPU-77aa/1/0", [SPLIT], []),
        (None, [SPLIT], ["MIG-0c2c1d24"]),
        (None, [ONE, SPLIT], ["MIG-0c2c1d24"]),
        ("0", [ONE, SPLIT], ["0"]),
        ("1", [ONE, SPLIT], ["MIG-0c2c1d24"]),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_reads_it(
    variable: str | None, gpus: list[Gpu], visible: list[str]
) -> None:
    assert visible_gpus(variable, gpus) == visible


@pytest.mark.parametrize("variable", [None, "", "-1", "none", "NoDevFiles", "0", "0,1", "GPU-5ebe9d51", "MIG-0c2c1d24"])
def test_a_machine_without_nvidia_driver_has_the_cpu(monkeypatch: pytest.MonkeyPatch, variable: str | None) -> None:
    if devices.has_driver():
        pytest.skip("this machine has NVIDIA's driver")
    monkeypatch.delenv(devices.VARIABLE, raising=False)
    if variable is not None:
        monkeypatch.setenv(devices.VARIABLE, variable)
    found = devices.find_devices()
    assert found.names("auto") == ["cpu"]
    assert found.names("0") == []
    assert devices.devices_in_words(found) == []
    assert devices.describe_device("cuda:0") == "cuda:0"
    assert devices.describe_device("cpu").endswith("cores")
    shown = None if variable is None else f"CUDA_VISIBLE_DEVICES={variable} leaves 0 of 0 GPUs visible"
    assert devices.hidden_gpus() == shown


FIRST, SECOND = SPLIT.migs


@pytest.mark.parametrize(
    ("variable", "gpus", "entries"),
    [
        (None, [ONE, TWO], []),
        ("", [SPLIT], []),
        ("-1", [SPLIT], []),
        ("0", [ONE, SPLIT], []),
        (None, [SPLIT], [FIRST, SECOND]),
        ("0", [SPLIT], [FIRST, SECOND]),
        ("GPU-33bb", [ONE, SPLIT], [FIRST, SECOND]),
        (None, [ONE, SPLIT], [ONE.uuid, FIRST, SECOND]),
        (SECOND, [SPLIT], [SECOND]),
        (f"{SECOND}, {FIRST},{SECOND}", [SPLIT], [SECOND, FIRST]),
        (f"{FIRST},MIG-of-no-gpu", [SPLIT], [FIRST]),
        ("MIG-GPU-33bb/1/0,MIG-GPU-33bb/2/0", [SPLIT], ["MIG-GPU-33bb/1/0", "MIG-GPU-33bb/2/0"]),
    ],
)
def test_each_visible_mig_instance_is_a_device(variable: str | None, gpus: list[Gpu], entries: list[str]) -> None:
    assert separate_entries(variable, gpus) == entries


@pytest.mark.parametrize("entry", ["MIG-9d1f0a77-5fd1-5b32-8f3a-4a1f4c2d6e71", "MIG-GPU-33bb/1/0", "GPU-77aa", "3"])
def test_a_device_may_be_named_by_a_uuid(entry: str) -> None:
    assert TypeAdapter(DeviceName).validate_python(f"cuda:{entry}") == f"cuda:{entry}"


def test_a_device_that_cannot_be_used_is_told_of_in_words() -> None:
    old = devices.Device("cuda:1", "GeForce GTX 1080", "its compute capability 6.1 is not supported by PyTorch 2.14")
    found = devices.Devices([devices.Device("cuda:0", "H100"), old])
    assert found.names("1") == ["cuda:0"]
    assert devices.devices_in_words(found) == [
        "cuda:1 (GeForce GTX 1080) is not used: its compute capability 6.1 is not supported by PyTorch 2.14."
    ]


def test_torch_reads_numbers_and_names_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same table, as far as PyTorch reads the variable itself without a driver."""
    from torch.cuda import _parse_visible_devices

    many = [Gpu(f"GPU-{number:02d}") for number in range(64)]
    for variable in ("", "-1", "none", "NoDevFiles", "0", "3,1", " 1 , 2 ", "1gpu,0x", "0,-1,1", "0,0", "1,,0", "+1"):
        monkeypatch.setenv(devices.VARIABLE, variable)
        assert visible_gpus(variable, many) == list(map(str, _parse_visible_devices())), variable
