"""`trackside train`: run the trainer in this process, with a progress bar driven by its events."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from app.results.seeds import spread
from app.runs.naming import changes, default_name
from app.runs.variants import FOLD, FOLDS
from app.settings import Settings
from trainer.plan.prepared import Prepared, prepared
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
        self.summary: dict[str, Any] = {}

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
                self.error, self.summary = event["error"], event["summary"]
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
    return _train(settings, ready, preset, out, device, console)[0]


def cross_validate_here(
    settings: Settings, preset: str, dataset: str, overrides: dict[str, Any], folds: int, device: str, console: Console
) -> int:
    """Train one run per fold, as one group, and return the exit status. Raises as `train_here` does."""
    group = f"{preset} {folds} folds {secrets.token_hex(2)}"
    every = [
        prepared(dataset, preset, {**overrides, FOLDS: folds, FOLD: fold}, settings.datasets)
        for fold in range(1, folds + 1)
    ]
    accs: list[float] = []
    for ready in every:
        status, summary = _train(settings, ready, preset, None, device, console, group)
        if status:
            return status
        accs += [summary["best/val_acc"]] if "best/val_acc" in summary else []
    if (found := spread(accs)) is not None and found.sd is not None:
        console.print(
            f"Validation accuracy over {found.count} folds: {100 * found.mean:.1f} ± {100 * found.sd:.1f}% (mean ± "
            "standard deviation over the folds)",
            markup=False,
            highlight=False,
        )
    return 0


def _train(
    settings: Settings,
    ready: Prepared,
    preset: str,
    out: Path | None,
    device: str,
    console: Console,
    group: str | None = None,
) -> tuple[int, dict[str, Any]]:
    """Return the exit status and the run's summary."""
    run_dir = out or settings.runs / secrets.token_hex(5)
    name = default_name(ready.changed, preset)
    meta = {"name": name, "group": group, "changed": changes(ready.changed)}
    create_run_dir(run_dir, ready.spec, ready.record, meta)
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
    return status, shown[0].summary if shown else {}
