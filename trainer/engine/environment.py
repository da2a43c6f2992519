"""Records what an attempt is trained with."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import psutil
import torch

from trainer.rundir.environment import Environment, write_environment
from trainer.system.machine import packages, processor_name

_DRIVER = Path("/proc/driver/nvidia/version")


def record_environment(run_dir: Path, attempt: int, device: torch.device) -> None:
    """Write the environment of an attempt on `device`. Raises OSError (a full disk)."""
    on_gpu = device.type == "cuda"
    write_environment(
        run_dir,
        Environment(
            attempt=attempt,
            system=platform.platform(),
            python=platform.python_version(),
            processor=processor_name(),
            cores=psutil.cpu_count() or 1,
            gpu=torch.cuda.get_device_name(device) if on_gpu else "",
            driver=_driver() if on_gpu else "",
            packages=packages(),
        ),
    )


def _driver() -> str:
    """The version of NVIDIA's driver; "" where the system does not tell it."""
    try:
        found = re.search(r"\d+\.\d+(\.\d+)?", _DRIVER.read_text())
    except OSError:
        return ""
    return found[0] if found else ""
