"""Where events go: what the environment variables TRACKSIDE_… say, with the arguments of `init` before them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trackside.errors import UsageError

URL = "http://127.0.0.1:8000"
MODES = ("online", "offline", "disabled")
MODE_NAMES = {"dryrun": "offline", "run": "online", "shared": "online"}


@dataclass(frozen=True)
class Options:
    url: str
    mode: str
    spool: Path
    keep_spool: bool
    finish_seconds: float  # for which `finish` waits until everything is sent


def read_options(mode: str | None = None, folder: str | None = None) -> Options:
    """Read the environment. `folder` and `mode` are the arguments of `init`. Raises UsageError: the mode is unknown."""
    mode = mode or os.environ.get("TRACKSIDE_MODE") or "online"
    mode = MODE_NAMES.get(mode, mode)
    if mode not in MODES:
        raise UsageError(f"mode is {mode!r}: use online, offline or disabled.")
    spool = os.environ.get("TRACKSIDE_SPOOL")
    return Options(
        url=(os.environ.get("TRACKSIDE_URL") or URL).rstrip("/"),
        mode=mode,
        spool=(Path(spool) if spool else Path(folder or ".") / ".trackside").absolute(),
        keep_spool=keeps_spool(),
        finish_seconds=_seconds(os.environ.get("TRACKSIDE_FINISH_SECONDS"), 60.0),
    )


def keeps_spool() -> bool:
    return os.environ.get("TRACKSIDE_KEEP_SPOOL", "") not in ("", "0")


def read_token() -> str | None:
    """Return the token: TRACKSIDE_TOKEN, or what the file TRACKSIDE_TOKEN_FILE holds now.

    The file is read for each connection, so that a new token can be given to a script that runs.
    """
    path = os.environ.get("TRACKSIDE_TOKEN_FILE")
    if path:
        try:
            return Path(path).read_text(encoding="utf-8").strip() or None
        except OSError:
            return None
    return os.environ.get("TRACKSIDE_TOKEN") or None


def rank_of(environ: Mapping[str, str]) -> int:
    """Return the rank of this process among those of one training: 0 for a process of its own."""
    for name in ("TRACKSIDE_RANK", "RANK", "SLURM_PROCID"):
        text = environ.get(name, "")
        if text.isdigit():
            return int(text)
    nodes, local = environ.get("NODE_RANK", "0"), environ.get("LOCAL_RANK", "0")
    return int((local.isdigit() and int(local)) or 0) + int((nodes.isdigit() and int(nodes)) or 0)


def _seconds(text: str | None, default: float) -> float:
    try:
        return max(0.0, float(text)) if text else default
    except ValueError:
        return default
