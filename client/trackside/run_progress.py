"""A run followed in the terminal: its status and latest metrics, or its log, until it has ended."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Any

from trackside.errors import ApiError
from trackside.run_handle import AWAY_SECONDS, RunHandle

POLL_SECONDS = 1.0
SERIES = ("train/loss", "train/acc", "val/loss", "val/acc")
MOST = 4  # series of a script's run, whose series have any name
SUMMARY = ("test/acc", "test/loss", "val/acc", "val/loss")


def watch(run: RunHandle, say: Callable[[str], None], as_json: bool) -> int:
    """Print a line whenever something has changed. Return 0 if the run has finished, 1 if it was stopped or failed."""
    shown = ""

    def look() -> None:
        nonlocal shown
        latest = latest_values(run)
        line = json.dumps({**_facts(run), "metrics": latest}) if as_json else progress_line(run, latest)
        if line != shown:
            say(line)
            shown = line

    _until_end(run, look)
    if run.error is not None and not as_json:
        say(f"{run.error['code']}: {run.error['message']}")
    return 0 if run.status == "finished" else 1


def follow_log(run: RunHandle, say: Callable[[str], None], as_json: bool) -> int:
    """Print the log from its start to the end of the run."""
    reached = -1

    def look() -> None:
        nonlocal reached
        for line in run.log(reached):
            say(json.dumps(vars(line)) if as_json else line.line)
            reached = line.key

    _until_end(run, look)
    return 0


def latest_values(run: RunHandle) -> dict[str, float | str]:
    """Return the latest value of the most important series; NaN and infinities as text."""
    if run.data["source"] == "script":  # its summary has the latest value of each series, which may be very many
        values = {name: value for name, value in run.summary.items() if isinstance(value, (int, float))}
        return {name: values[name] for name in [name for name in SERIES if name in values] or sorted(values)[:MOST]}
    found = {name: series["value"] for name, series in run.metrics(SERIES, points=1).items()}
    latest = {name: found[name][-1] for name in SERIES if found.get(name)}
    return {name: value if math.isfinite(value) else str(value) for name, value in latest.items()}


def progress_line(run: RunHandle, latest: dict[str, float | str]) -> str:
    """Return one line: "running  epoch 2/3  step 40/90  train/loss 0.5123  ETA 12 s"."""
    data = run.data
    parts = [run.status if not data["phase"] or run.has_ended else f"{run.status} ({data['phase']})"]
    if data["epochs"]:
        parts.append(f"epoch {data['epoch']}/{data['epochs']}")
    parts.append(f"step {data['step']}" + (f"/{data['total_steps']}" if data["total_steps"] else ""))
    values: dict[str, Any] = dict(latest)
    if run.has_ended:
        values = {name: run.summary[name] for name in SUMMARY if run.summary.get(name) is not None} or values
    parts += [
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    ]
    if data["eta_seconds"] is not None:
        parts.append(f"ETA {duration(data['eta_seconds'])}")
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """Return "12 s", "3 min" or "1 h 20 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _facts(run: RunHandle) -> dict[str, Any]:
    names = ("id", "status", "phase", "epoch", "epochs", "step", "total_steps", "eta_seconds", "error")
    return {name: run.data[name] for name in names} | ({"summary": run.summary} if run.has_ended else {})


def _until_end(run: RunHandle, look: Callable[[], None]) -> None:
    """Call `look` now, each second, and once after the run has ended. A server that restarts is waited for."""
    reached = time.monotonic()
    while True:
        has_ended = run.has_ended
        try:
            look()
            if has_ended:
                return
            time.sleep(POLL_SECONDS)
            run.refresh()
            reached = time.monotonic()
        except ApiError as error:
            if not error.is_temporary or time.monotonic() - reached > AWAY_SECONDS:
                raise
            time.sleep(POLL_SECONDS)
