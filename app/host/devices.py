"""Devices of this machine under PyTorch's names (`cuda:0`, `cpu`), and their NVML handles. Does not import torch."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pynvml

from trainer.system.parallel import available_cores

VARIABLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Gpu:
    """A GPU as NVML names it, with the UUIDs of its MIG instances."""

    uuid: str
    migs: tuple[str, ...] = ()


def find_devices(workers: str) -> list[str]:
    """Return a device per GPU that CUDA sees, or the CPU if there is none.

    `workers` is "auto" for all of them, or the maximum number of devices.
    """
    if workers == "0":
        return []
    visible = visible_gpus(os.environ.get(VARIABLE), installed_gpus())
    devices = [f"cuda:{index}" for index in range(len(visible))] or ["cpu"]
    return devices if workers == "auto" else devices[: int(workers)]


def hidden_gpus() -> str | None:
    """Return a sentence on what CUDA_VISIBLE_DEVICES does here, or None if it is not set."""
    variable = os.environ.get(VARIABLE)
    if variable is None:
        return None
    gpus = installed_gpus()
    return f"{VARIABLE}={variable} leaves {len(visible_gpus(variable, gpus))} of {len(gpus)} GPUs visible"


def visible_gpus(variable: str | None, gpus: Sequence[Gpu]) -> list[str]:
    """Return the index, or the UUID of the MIG instance, of each device that CUDA sees, in PyTorch's order.

    `variable` is read as by CUDA and by torch.cuda._parse_visible_devices: if it is unset, all GPUs are visible; the
    first entry that names no GPU ends the list; a GPU that is named twice hides all. Where there are MIG instances,
    CUDA sees one of them and nothing else.
    """
    indices: list[int] = []
    for entry in map(str, range(len(gpus))) if variable is None else map(str.strip, variable.split(",")):
        if entry.startswith("MIG-") and not indices:
            return [entry] if any(entry in gpu.migs or is_of(entry, gpu) for gpu in gpus) else []
        index = gpu_index(entry, gpus)
        if index is None or is_uuid(entry) != is_uuid((variable or "").strip()):
            break
        if index in indices:
            return []
        indices.append(index)
    migs = [gpus[index].migs[0] for index in indices if gpus[index].migs]
    return migs[:1] or [str(index) for index in indices]


def is_uuid(entry: str) -> bool:
    return entry.startswith("GPU-")


def is_of(entry: str, gpu: Gpu) -> bool:
    """Return whether `entry` is a MIG instance of the GPU in the form of drivers before 470: MIG-<GPU's UUID>/1/0."""
    return bool(gpu.uuid) and entry.startswith(f"MIG-{gpu.uuid}/")


def gpu_index(entry: str, gpus: Sequence[Gpu]) -> int | None:
    """Return the index of the GPU that an entry names by the start of a number, as in "1gpu", or of a single UUID."""
    if is_uuid(entry):
        matching = [index for index, gpu in enumerate(gpus) if gpu.uuid.startswith(entry)]
        return matching[0] if len(matching) == 1 else None
    number = re.match(r"\+?([0-9]{1,9})", entry)
    return int(number[1]) if number is not None and int(number[1]) < len(gpus) else None


def installed_gpus() -> list[Gpu]:
    """Return the GPUs of this machine, in NVML's order: none without NVIDIA's driver."""
    try:
        pynvml.nvmlInit()
        return [_gpu(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []


def _gpu(index: int) -> Gpu:
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        return Gpu(str(pynvml.nvmlDeviceGetUUID(handle)), tuple(_migs(handle)))
    except pynvml.NVMLError:  # a GPU that does not answer still has its number
        return Gpu("")


def _migs(handle: Any) -> list[str]:
    try:
        count = pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)
    except pynvml.NVMLError:  # no MIG
        return []
    found = []
    for index in range(count):
        try:
            found.append(str(pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index))))
        except pynvml.NVMLError:  # fewer instances than there may be
            break
    return found


def gpu_handle(index: int) -> Any:
    """Return NVML's handle of the GPU that PyTorch calls `cuda:<index>`. Raises pynvml.NVMLError."""
    pynvml.nvmlInit()
    visible = visible_gpus(os.environ.get(VARIABLE), installed_gpus())
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
