"""The step at which a run stops, saved and before its test, to be resumed exactly. Free of torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from trainer.rundir.folder import RunDir
from trainer.system.durable import write_durably

Hold = int | Literal["end"]  # after so many steps, or after the last one


def hold(run_dir: Path, at: Hold) -> None:
    """Have the run stop at `at`. Applies from the next attempt on."""
    write_durably(RunDir(run_dir).hold, str(at).encode())


def release(run_dir: Path) -> None:
    """Let the run train to its end and test."""
    RunDir(run_dir).hold.unlink(missing_ok=True)


def held_at(run_dir: Path) -> Hold | None:
    """Where the run stops; None if it is not held."""
    try:
        text = RunDir(run_dir).hold.read_text()
    except FileNotFoundError:
        return None
    return int(text) if text.isdecimal() else "end"
