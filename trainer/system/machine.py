"""The processor and the installed packages of this machine."""

from __future__ import annotations

import importlib.metadata
import platform
from functools import lru_cache
from pathlib import Path


@lru_cache(1)
def processor_name() -> str:
    """The processor's name as the system gives it: "AMD EPYC"."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), platform.processor())


@lru_cache(1)
def packages() -> dict[str, str]:
    """The installed distributions with their versions, by name. Takes tenths of a second the first time."""
    found = {item.metadata["Name"]: item.version for item in importlib.metadata.distributions()}
    return dict(sorted(found.items(), key=lambda pair: pair[0].casefold()))
