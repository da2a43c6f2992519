"""The devices of this machine by PyTorch's names (`cuda:0`, `cpu`), and what NVML tells of each GPU. Free of torch."""

from __future__ import annotations

import os
from typing import Any

import pynvml

from trainer.system.parallel import available_cores


def find_devices(workers: str) -> list[str]:
    """A device for each GPU that CUDA_VISIBLE_DEVICES leaves visible, else the CPU alone; at most `workers` of them."""
    if workers == "0":
        return []
    devices = [f"cuda:{index}" for index in range(len(visible_gpus()))] or ["cpu"]
    return devices if workers == "auto" else devices[: int(workers)]


def visible_gpus() -> list[str]:
    """The index or UUID of each GPU that CUDA shows, in PyTorch's order.

    As CUDA reads the variable: unset shows all, empty shows none, and the first entry that names no GPU ends the list.
    """
    variable = os.environ.get("CUDA_VISIBLE_DEVICES")
    if variable is None:
        return [str(index) for index in range(_gpu_count())]
    shown = []
    for entry in (part.strip() for part in variable.split(",")):
        if not entry or entry.startswith("-"):
            break
        shown.append(entry)
    return shown


def _gpu_count() -> int:
    try:
        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:
        return 0


def gpu_handle(index: int) -> Any:
    """NVML's handle of the GPU that PyTorch calls `cuda:<index>`. Raises pynvml.NVMLError."""
    pynvml.nvmlInit()
    visible = visible_gpus()
    name = visible[index] if index < len(visible) else str(index)
    if name.isdecimal():
        return pynvml.nvmlDeviceGetHandleByIndex(int(name))
    return pynvml.nvmlDeviceGetHandleByUUID(name)


def describe_device(device: str) -> str:
    """A GPU's name, or the number of CPU cores that this process may use."""
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return f"{available_cores()} cores"
    try:
        return str(pynvml.nvmlDeviceGetName(gpu_handle(int(index or 0))))
    except pynvml.NVMLError:
        return device
