"""The versions of the packages and of the system, and the name of the processor."""

from __future__ import annotations

import platform
import sqlite3
import sys
from importlib.metadata import version
from pathlib import Path

from trainer.system.parallel import available_cores

PACKAGES = ("trackside", "torch", "torchvision", "fastapi", "sqlmodel")


def versions() -> dict[str, str]:
    return {
        "python": sys.version.split()[0],
        **{name: version(name) for name in PACKAGES},
        "sqlite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": str(available_cores()),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
