"""The versions that machines which train together must share."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version


@cache
def versions() -> dict[str, str]:
    return {"Trackside": version("trackside"), "PyTorch": version("torch")}
