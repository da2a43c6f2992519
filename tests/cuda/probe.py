"""`python -m tests.cuda.probe`: print as JSON what torch and NVML find on the simulated device."""

from __future__ import annotations

import os
import sys
from typing import Any

import orjson
import pynvml
import torch


def torch_findings() -> dict[str, Any]:
    numbers = torch.arange(1000).to("cuda:0")
    small = torch.tensor([3.5]).to("cuda:0").item()
    return {
        "count": torch.cuda.device_count(),
        "name": torch.cuda.get_device_name(0),
        "bf16": torch.cuda.is_bf16_supported(including_emulation=False),
        "total": torch.cuda.mem_get_info(0)[1],
        "copied": bool((numbers.cpu() == torch.arange(1000)).all()),
        "small": small,
        "computed": (numbers + 1).sum().item(),
        "too much": attempt(lambda: torch.empty(1 << 32, device="cuda:0")),
        "forked": in_child(lambda: torch.zeros(1, device="cuda:0")),
    }


def nvml_findings() -> dict[str, Any]:
    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(pynvml.nvmlDeviceGetCount() - 1)
    return {
        "name": pynvml.nvmlDeviceGetName(handle),
        "uuid": pynvml.nvmlDeviceGetUUID(handle),
        "memory": pynvml.nvmlDeviceGetMemoryInfo(handle).total,
        "utilization": attempt(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu),
        "temperature": attempt(lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)),
    }


def attempt(call: Any) -> Any:
    """Return what `call` returns, or the name of the exception that it raises."""
    try:
        return str(call())
    except Exception as error:  # noqa: BLE001  its name is the result
        return type(error).__name__


def in_child(call: Any) -> bool:
    """Return whether `call` works in a forked child."""
    pid = os.fork()
    if pid == 0:
        try:
            call()
        except RuntimeError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps({"torch": torch_findings(), "nvml": nvml_findings()}))
