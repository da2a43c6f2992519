"""Devices of this machine under PyTorch's names (`cuda:0`, `cpu`), or `cuda:MIG-…`. Does not import torch."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pynvml

from app.host.gpu_test import Question
from trainer.system.gpus import VISIBLE, GpuReport
from trainer.system.parallel import available_cores

VARIABLE = VISIBLE


@dataclass(frozen=True)
class Gpu:
    """A GPU as NVML names it, with the UUIDs of its MIG instances."""

    uuid: str
    migs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Device:
    """`name` is what a worker is started with; `problem` says why it cannot be trained on."""

    name: str
    description: str
    problem: str | None = None


@dataclass(frozen=True)
class Devices:
    """The devices to train on, and why the GPUs are not among them if CUDA does not work at all."""

    all: list[Device]
    problem: str | None = None

    def names(self, workers: str) -> list[str]:
        """Return the names for which workers are started: "auto" is all of them, else `workers` is the maximum."""
        names = [device.name for device in self.all]
        return names if workers == "auto" else names[: int(workers)]


def find_devices() -> Devices:
    """Ask PyTorch for the GPUs that it sees, in a process of its own; the CPU if there are none. Takes seconds.

    CUDA shows a process one MIG instance only. Where there are any, each is a device of its own, named by its UUID.
    """
    cpu = Device("cpu", describe_device("cpu"))
    if not has_driver():
        return Devices([cpu])
    if entries := separate_entries(os.environ.get(VARIABLE), installed_gpus()):
        reports = [Question(entry).wait() for entry in entries]
        return Devices([_named(entry, report) for entry, report in zip(entries, reports, strict=True)])
    report = Question().wait()
    found = [Device(f"cuda:{index}", gpu.name, gpu.problem) for index, gpu in enumerate(report.gpus)]
    return Devices(found or [cpu], report.problem)


def devices_in_words(devices: Devices) -> list[str]:
    """Return a sentence for each device that cannot be trained on."""
    unusable = [
        f"{device.name} ({device.description}) is not used: {device.problem}."
        for device in devices.all
        if device.problem
    ]
    return [*([f"No GPU is used: {devices.problem}."] if devices.problem else []), *unusable]


def _named(entry: str, report: GpuReport) -> Device:
    if not report.gpus:
        return Device(f"cuda:{entry}", entry, report.problem or "PyTorch does not see it")
    return Device(f"cuda:{entry}", report.gpus[0].name, report.gpus[0].problem)


def has_driver() -> bool:
    """Return whether NVIDIA's driver is installed, without which PyTorch, slow to load, need not be asked."""
    try:
        ctypes.CDLL("libcuda.so.1" if sys.platform != "win32" else "nvcuda.dll")
    except OSError:
        return False
    return True


def hidden_gpus() -> str | None:
    """Return a sentence on what CUDA_VISIBLE_DEVICES does here, or None if it is not set."""
    variable = os.environ.get(VARIABLE)
    if variable is None:
        return None
    gpus = installed_gpus()
    return f"{VARIABLE}={variable} leaves {len(visible_gpus(variable, gpus))} of {len(gpus)} GPUs visible"


def separate_entries(variable: str | None, gpus: Sequence[Gpu]) -> list[str]:
    """Return the UUIDs of the visible MIG instances and other GPUs if there are instances among them, else [].

    Each is a value of CUDA_VISIBLE_DEVICES that shows a process this one device. `variable` is read as by
    `visible_gpus`, except that all instances count.
    """
    if variable is not None and variable.strip().startswith("MIG-"):
        entries = [entry.strip() for entry in variable.split(",")]
        known = [entry for entry in entries if any(entry in gpu.migs or is_of(entry, gpu) for gpu in gpus)]
        return list(dict.fromkeys(known))
    plain = [Gpu(gpu.uuid) for gpu in gpus]
    shown = [gpus[int(index)] for index in visible_gpus(variable, plain)]
    if not any(gpu.migs for gpu in shown):
        return []
    return [entry for gpu in shown for entry in (gpu.migs or (gpu.uuid,)) if entry]


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


def gpu_handle(device: str) -> Any:
    """Return NVML's handle of the GPU that is named "cuda:<index>" or "cuda:<UUID>". Raises pynvml.NVMLError."""
    entry = device.partition(":")[2] or "0"
    pynvml.nvmlInit()
    if not entry.isdecimal():
        return pynvml.nvmlDeviceGetHandleByUUID(entry)
    visible = visible_gpus(os.environ.get(VARIABLE), installed_gpus())
    name = visible[int(entry)] if int(entry) < len(visible) else entry
    if name.isdecimal():
        return pynvml.nvmlDeviceGetHandleByIndex(int(name))
    return pynvml.nvmlDeviceGetHandleByUUID(name)


def describe_device(device: str) -> str:
    """Return a GPU's name, or the number of CPU cores that this process may use."""
    if not device.startswith("cuda"):
        return f"{available_cores()} cores"
    try:
        return str(pynvml.nvmlDeviceGetName(gpu_handle(device)))
    except pynvml.NVMLError:
        return device
