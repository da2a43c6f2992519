"""The versions of the packages and of the system, and the name of the processor."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version

from trainer.system.parallel import available_cores
from trainer.system.processor import processor

PACKAGES = ("trackside", "torch", "torchvision", "fastapi", "sqlmodel")


def versions(database: tuple[str, str] | None = None) -> dict[str, str]:
    """Return them by name, with the product and the version of `database`."""
    return {
        "python": sys.version.split()[0],
        **{name: version(name) for name in PACKAGES},
        **dict([database] if database else []),
        "system": f"{platform.system()} {platform.release()}",
        "processor": processor(),
        "cores": str(available_cores()),
    }
