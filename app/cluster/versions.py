"""The versions that the machines of a cluster must share. Those of Python and Ray are compared by Ray itself."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version


@cache
def versions() -> dict[str, str]:
    return {"Trackside": version("trackside"), "PyTorch": version("torch")}
