"""`trackside train`: run the trainer in this process, with a progress bar driven by its events."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from app.runs.naming import changes, default_name
from app.settings import Settings
from trainer.plan.prepared import prepared
from trainer.process.assignment import Assignment
from trainer.process.trainer import run_trainer
from trainer.rundir.creation import create_run_dir
from trainer.rundir.environment import record_git
from trainer.rundir.events import Event, EventWriter, attempts


class ShownEvents(EventWriter):
    """Writes events as EventWriter does, and prints them."""

    def __init__(self, run_dir: Path, attempt: int, bar: Progress, console: Console) -> None:
        super().__init__(run_dir, attempt)
        self._bar, self._console = bar, console
        self._task = bar.add_task("", total=None, latest="")
        self._last: dict[str, float] = {}
        self.error: dict[str, Any] | None = None

    def _write(self, event: Event) -> None:
        super()._write(event)
        match event["e"]:
            case "start":
                self._bar.update(self._task, total=event["total_steps"], completed=event["from_step"])
            case "plan":
                self._bar.update(self._task, total=event["total_steps"])
            case "metrics":
                self._last |= {k: v for k, v in event["v"].items() if isinstance(v, float | int)}
                self._bar.update(self._task, completed=event["step"], latest=self._latest())
            case "epoch":
                self._console.print(f"epoch {event['epoch']}: {self._latest()}", markup=False, highlight=False)
            case "log":
                self._console.print(event["line"], markup=False)
            case "end":
                self.error = event["error"]
                shown = {k: v for k, v in event["summary"].items() if "test/" in k}
                for name, value in shown.items():
                    self._console.print(f"{name} {value:.4f}", markup=False, highlight=False)

    def _latest(self) -> str:
        last = self._last
        parts = [f"loss {last['train/loss']:.3f}"] if "train/loss" in last else []
        parts += [f"acc {100 * last['train/acc']:.1f}%"] if "train/acc" in last else []
        parts += [f"val {100 * last['val/acc']:.1f}%"] if "val/acc" in last else []
        parts += [f"{last['throughput']:,.0f} images/s"] if "throughput" in last else []
        return " · ".join(parts)


def train_here(
    settings: Settings,
    preset: str,
    dataset: str,
    overrides: dict[str, Any],
    out: Path | None,
    device: str,
    console: Console,
) -> int:
    """Train in a new directory and return the exit status. Raises SpecError, DatasetError, FileExistsError."""
    ready = prepared(dataset, preset, overrides, settings.datasets)
    run_dir = out or settings.runs / secrets.token_hex(5)
    name = default_name(ready.changed, preset)
    create_run_dir(run_dir, ready.spec, ready.record, {"name": name, "changed": changes(ready.changed)})
    record_git(run_dir, Path.cwd())
    console.print(f"Training {name} in {run_dir}", markup=False, highlight=False)
    columns = (
        TextColumn("{task.fields[latest]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        shown: list[ShownEvents] = []

        def make_events(folder: Path, attempt: int) -> EventWriter:
            shown.append(ShownEvents(folder, attempt, bar, console))
            return shown[0]

        attempt = max(attempts(run_dir), default=0) + 1
        cache = str(settings.execution_cache)
        assignment = Assignment(str(run_dir), str(settings.datasets), device, attempt, cache=cache)
        status = run_trainer(assignment, make_events=make_events)
    if shown and shown[0].error:
        console.print(shown[0].error["message"], style="red", markup=False)
    if status == 0 and out is None:
        console.print(f"To classify images: trackside predict {run_dir.name} FILES", markup=False, highlight=False)
        console.print("To see the run on the dashboard: stop `trackside serve`, run `trackside reindex`", markup=False)
    return status
