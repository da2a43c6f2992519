"""What a device is doing at the moment. Free of SQL, since nodes read their devices too."""

from __future__ import annotations

import logging
from typing import Any, Protocol

import psutil
import pynvml
from pydantic import BaseModel

from app.host.devices import gpu_handle

log = logging.getLogger(__name__)


class Reading(BaseModel):
    """`utilisation` is a fraction, of a GPU's time or of all CPU cores; memory in bytes; temperature in °C."""

    utilisation: float
    memory: int
    memory_total: int
    temperature: float | None = None


class Probe(Protocol):
    def read(self) -> Reading | None:
        """Read the device; None if there is nothing to be had of it now."""


class CpuProbe:
    """Reads the CPU and memory of the whole machine, since other programs' load slows a run as well.

    The utilization is that since the previous reading, whichever thread made it: psutil.cpu_percent would start anew
    in each thread, and say 0.
    """

    def __init__(self) -> None:
        self._busy, self._total = _cpu_seconds()

    def read(self) -> Reading:
        memory = psutil.virtual_memory()
        busy, total = _cpu_seconds()
        share = (busy - self._busy) / (total - self._total) if total > self._total else 0.0
        self._busy, self._total = busy, total
        return Reading(
            utilisation=min(1.0, max(0.0, share)),
            memory=memory.total - memory.available,
            memory_total=memory.total,
            temperature=_cpu_temperature(),
        )


def _cpu_seconds() -> tuple[float, float]:
    """The seconds that all cores together were busy, and all seconds, since the machine's start."""
    times = psutil.cpu_times()._asdict()
    total = sum(seconds for name, seconds in times.items() if not name.startswith("guest"))  # they are user time too
    return total - times["idle"] - times.get("iowait", 0.0), total


def _cpu_temperature() -> float | None:
    sensors: dict[str, Any] = getattr(psutil, "sensors_temperatures", dict)()
    for name in ("coretemp", "k10temp", "cpu_thermal", "zenpower"):
        if sensors.get(name):
            return float(sensors[name][0].current)
    return None


class GpuProbe:
    """Reads one NVIDIA GPU through NVML. Raises pynvml.NVMLError if there is none."""

    def __init__(self, device: str) -> None:
        self._handle = gpu_handle(device)

    def read(self) -> Reading:
        memory = pynvml.nvmlDeviceGetMemoryInfo(self._handle)
        return Reading(
            utilisation=pynvml.nvmlDeviceGetUtilizationRates(self._handle).gpu / 100,
            memory=int(memory.used),
            memory_total=int(memory.total),
            temperature=self._temperature(),
        )

    def _temperature(self) -> float | None:
        try:
            return float(pynvml.nvmlDeviceGetTemperature(self._handle, pynvml.NVML_TEMPERATURE_GPU))
        except pynvml.NVMLError:  # passively cooled and virtual GPUs have no such sensor
            return None


def probe_of(device: str) -> Probe:
    """Return the probe of a device by its PyTorch name; a CpuProbe if NVML cannot read the GPU."""
    if device.startswith("cuda"):
        try:
            return GpuProbe(device)
        except pynvml.NVMLError as error:
            log.warning("NVML tells nothing of %s: %s", device, error)
    return CpuProbe()
