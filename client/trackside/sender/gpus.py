"""Utilization, memory, temperature and power of NVIDIA GPUs, from NVIDIA's management library."""

from __future__ import annotations

import ctypes
from typing import Any

LIBRARY = "libnvidia-ml.so.1"


class _Utilization(ctypes.Structure):
    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


class _Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


class Gpus:
    """The GPUs that `visible` (CUDA_VISIBLE_DEVICES) names by number, or all. None where the library is absent."""

    def __init__(self, visible: str | None) -> None:
        self._handles: dict[int, ctypes.c_void_p] = {}
        self._nvml: ctypes.CDLL | None = None
        try:
            self._nvml = ctypes.CDLL(LIBRARY)
        except OSError:
            return
        count = ctypes.c_uint()
        if not self._answers("nvmlInit_v2") or not self._answers("nvmlDeviceGetCount_v2", ctypes.byref(count)):
            return
        for index in _numbers(visible, count.value):
            handle = ctypes.c_void_p()
            if self._answers("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(handle)):
                self._handles[index] = handle

    def names(self) -> list[str]:
        found = []
        for handle in self._handles.values():
            name = ctypes.create_string_buffer(96)
            if self._answers("nvmlDeviceGetName", handle, name, ctypes.c_uint(96)):
                found.append(name.value.decode("utf-8", "replace"))
        return found

    def sample(self) -> dict[str, float]:
        """What a GPU does not tell is left out."""
        values: dict[str, float] = {}
        for index, handle in self._handles.items():
            used, memory = _Utilization(), _Memory()
            celsius, milliwatts = ctypes.c_uint(), ctypes.c_uint()
            if self._answers("nvmlDeviceGetUtilizationRates", handle, ctypes.byref(used)):
                values[f"gpu{index}/utilization_percent"] = used.gpu
            if self._answers("nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory)):
                values[f"gpu{index}/memory_mb"] = round(memory.used / 1e6, 1)
            if self._answers("nvmlDeviceGetTemperature", handle, ctypes.c_uint(0), ctypes.byref(celsius)):
                values[f"gpu{index}/temperature_celsius"] = celsius.value
            if self._answers("nvmlDeviceGetPowerUsage", handle, ctypes.byref(milliwatts)):
                values[f"gpu{index}/power_watts"] = milliwatts.value / 1000
        return values

    def _answers(self, name: str, *arguments: Any) -> bool:
        """Call a function of the library. Return whether there is one of this name, and it has succeeded."""
        function = getattr(self._nvml, name, None)
        return function is not None and function(*arguments) == 0


def _numbers(visible: str | None, count: int) -> list[int]:
    words = [word.strip() for word in visible.split(",")] if visible is not None else []
    if visible is None or not all(word.isdigit() for word in words):
        return [] if visible in ("", "-1") else list(range(count))
    return [int(word) for word in words if int(word) < count]
