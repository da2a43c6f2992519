"""The commands that train and classify without a server."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.control import Control
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn
from rich.segment import ControlType

from app.commands.assignments import parse_assignments
from app.commands.completion import dataset_names, preset_names, setting_names
from app.commands.console import console, errors, fail
from app.commands.home import home_settings
from app.commands.options import Device
from app.settings import Settings
from trainer.errors import TrainerError
from trainer.process.threads import SPIN_LIMIT


def train(
    preset: Annotated[str, typer.Option(autocompletion=preset_names)],
    dataset: Annotated[str, typer.Option(autocompletion=dataset_names)],
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="field=value, as often as needed", autocompletion=setting_names)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Output directory; it must not exist.")] = None,
    device: Device = "cpu",
    folds: Annotated[int | None, typer.Option(min=2, max=20, help="Cross-validation: one run per fold.")] = None,
) -> None:
    """Train without a server: the same trainer, a progress bar. Exits with 0 only on success."""
    os.environ.update({**SPIN_LIMIT, **os.environ})
    from app.commands.train import cross_validate_here, train_here

    if folds is not None and out is not None:
        raise fail("--folds trains several runs in the home: leave out --out")

    settings = Settings() if out is not None else home_settings()
    try:
        overrides = parse_assignments(assignments or [])
        if folds is None:
            status = train_here(settings, preset, dataset, overrides, out, device, console)
        else:
            status = cross_validate_here(settings, preset, dataset, overrides, folds, device, console)
    except (TrainerError, FileExistsError) as error:
        raise fail(str(error)) from None
    raise typer.Exit(status)


class Format(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"


class SplitName(StrEnum):
    TRAIN = "train"
    TEST = "test"
    VAL = "val"


def evaluate(
    model: Annotated[str, typer.Argument(help="A run's id, a model's name, latest, or an exported model file")],
    dataset: Annotated[str, typer.Argument(help="A dataset whose classes the model knows by their names")],
    split: SplitName = SplitName.TEST,
    as_json: Annotated[bool, typer.Option("--json", help="All figures as one JSON object.")] = False,
) -> None:
    """Measure a trained model on a labeled dataset, without a server: accuracy, macro F1, log loss and more."""
    os.environ.update({**SPIN_LIMIT, **os.environ})
    from app.commands.evaluate import evaluate_here, lines_of

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=errors, disable=not errors.is_terminal) as bar:
            task = bar.add_task("", total=None)

            def progress(done: int, total: int, _what: str) -> None:
                bar.update(task, completed=done, total=total)

            found = evaluate_here(Settings(), model, dataset, split.value, progress)
    except (LookupError, TrainerError, OSError) as error:
        raise fail(str(error)) from None
    for line in [found.model_dump_json()] if as_json else lines_of(found):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def predict(
    model: Annotated[str, typer.Argument(help="A run's id, a model's name, latest, or an exported model file")],
    paths: Annotated[list[Path], typer.Argument(help="Images, or folders or zips of them")],
    top_k: Annotated[int, typer.Option(min=1, max=1000)] = 1,
    form: Annotated[Format, typer.Option("--format", help="jsonl: one object per file, as in /api/predict")] = (
        Format.CSV
    ),
) -> None:
    """Classify images with a trained run, without a server: CSV of file, rank, label, probability, error.

    Exits with 0 only if at least one image could be read.
    """
    os.environ.update({**SPIN_LIMIT, **os.environ})
    from app.commands.predict import predict_here

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    shown = errors.is_terminal
    try:
        # Refreshed explicitly after each batch, so that it does not interleave with rows on the same terminal.
        with Progress(*columns, console=errors, auto_refresh=False, redirect_stdout=False, disable=not shown) as bar:
            task = bar.add_task("", total=None)

            def progress(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total, refresh=True)

            def clear() -> None:
                if shown:
                    errors.control(Control((ControlType.CARRIAGE_RETURN,), (ControlType.ERASE_IN_LINE, 2)))

            readable = predict_here(
                Settings(),
                model,
                paths,
                top_k,
                sys.stdout,
                json_lines=form == Format.JSONL,
                before_writing=clear,
                progress=progress,
            )
    except BrokenPipeError:  # the reader of our output has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except (LookupError, TrainerError, OSError) as error:
        raise fail(str(error)) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if not readable:
        raise fail("No image could be read.")
