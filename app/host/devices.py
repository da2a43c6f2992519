"""Devices of this machine under PyTorch's names (`cuda:0`, `cpu`), and their NVML handles. Does not import torch."""

from __future__ import annotations

import os
from typing import Any

import pynvml

from trainer.system.parallel import available_cores


def find_devices(workers: str) -> list[str]:
    """Return a device per GPU that CUDA_VISIBLE_DEVICES leaves visible, or the CPU if there is none.

    `workers` is "auto" for all of them, or the maximum number of devices.
    """
    if workers == "0":
        return []
    devices = [f"cuda:{index}" for index in range(len(visible_gpus()))] or ["cpu"]
    return devices if workers == "auto" else devices[: int(workers)]


def visible_gpus() -> list[str]:
    """Return the index or UUID of each GPU that is visible to CUDA, in PyTorch's order.

    CUDA_VISIBLE_DEVICES is parsed as CUDA does: if it is unset, all GPUs are visible, and if it is empty, none. The
    first entry that is empty or negative ends the list.
    """
    variable = os.environ.get("CUDA_VISIBLE_DEVICES")
    if variable is None:
        return [str(index) for index in range(_gpu_count())]
    visible = []
    for entry in (part.strip() for part in variable.split(",")):
        if not entry or entry.startswith("-"):
            break
        visible.append(entry)
    return visible


def _gpu_count() -> int:
    try:
        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:
        return 0


def gpu_handle(index: int) -> Any:
    """Return NVML's handle of the GPU that PyTorch calls `cuda:<index>`. Raises pynvml.NVMLError."""
    pynvml.nvmlInit()
    visible = visible_gpus()
    name = visible[index] if index < len(visible) else str(index)
    if name.isdecimal():
        return pynvml.nvmlDeviceGetHandleByIndex(int(name))
    return pynvml.nvmlDeviceGetHandleByUUID(name)


def describe_device(device: str) -> str:
    """Return a GPU's name, or the number of CPU cores that this process may use."""
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return f"{available_cores()} cores"
    try:
        return str(pynvml.nvmlDeviceGetName(gpu_handle(int(index or 0))))
    except pynvml.NVMLError:
        return device
