"""`trackside datasets`: list, add, rename and delete datasets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from app.commands.console import console, errors, fail
from app.commands.home import home_settings
from app.display.formatting import size as shown_size
from app.settings import Settings
from trainer.errors import TrainerError
from trainer.system.controls import escape_controls

if TYPE_CHECKING:
    from app.datasets.editing import DatasetEditor

datasets_app = typer.Typer(no_args_is_help=True, help="List, add, rename and delete datasets.")


@datasets_app.command("list")
def list_datasets() -> None:
    """List the datasets, with their images, classes, size and source."""
    from trainer.data.format import list_records

    for record in list_records(Settings().datasets):
        console.print(
            f"{record.name}: {record.train_count:,} train, {record.test_count:,} test, "
            f"{f'{record.val_count:,} validation, ' if record.val_count else ''}"
            f"{len(record.classes)} classes, {record.size} px, from {escape_controls(record.source)}",
            markup=False,
        )


@datasets_app.command("add")
def add_dataset(
    name: str,
    source: Annotated[str | None, typer.Option("--from", help="A folder, a zip, or torchvision:NAME")] = None,
    size: Annotated[int | None, typer.Option(help="Side of the stored images in pixels, 16 to 512")] = None,
    fit: Annotated[str, typer.Option(help="crop, pad or squash")] = "crop",
    on_unreadable: Annotated[str, typer.Option(help="refuse or skip")] = "refuse",
    manifest: Annotated[
        Path | None,
        typer.Option(help="A CSV or JSONL with columns file_name and label, and optionally split, group and weight"),
    ] = None,
    group_level: Annotated[
        int | None,
        typer.Option(help="The level of folders, from 1, that are groups (patients, sites): never parted by a split"),
    ] = None,
    group_column: Annotated[str | None, typer.Option(help="The manifest's column of groups, if not group")] = None,
) -> None:
    """Add a dataset: `shapes100` is built in; others come from a folder, a zip, or torchvision's servers.

    A manifest.csv, metadata.csv, metadata.jsonl, labels.csv or train.csv beside the images is used without being named.
    """
    from app.datasets.notes import dark
    from trainer.data.sources import source as sources
    from trainer.data.sources.labelled import Labelling

    datasets = home_settings().datasets
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    try:
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("starting", total=None)

            def progress(done: int, total: int, what: str) -> None:
                bar.update(task, completed=done, total=total, description=what)

            record = sources.add_dataset(
                datasets,
                name,
                source or name,
                size=size,
                fit=fit,  # type: ignore[arg-type]
                on_unreadable=on_unreadable,  # type: ignore[arg-type]
                labelling=Labelling(manifest, group_level=group_level, group_column=group_column),
                progress=progress,
            )
    except TrainerError as error:
        for line in [error.message, *map(str, detail_lines(error.detail))]:
            errors.print(line, style="red", markup=False)
        raise typer.Exit(1) from None
    console.print(
        f"Added {record.name}: {record.train_count:,} train and {record.test_count:,} test images, "
        f"{f'{record.val_count:,} validation images, ' if record.val_count else ''}"
        f"{len(record.classes)} classes, {len(record.superclasses or ())} superclasses, "
        f"mean {', '.join(f'{value:.5f}' for value in record.mean)}",
        markup=False,
    )
    if record.manifest:
        console.print(f"Classes: from {escape_controls(record.manifest)}.", markup=False, highlight=False)
    if record.groups is not None:
        console.print(f"Groups: {record.groups:,}, each in one split.", markup=False, highlight=False)
    if record.shared_groups:
        console.print(
            f"Warning: {record.shared_groups:,} of them have training images, and test or validation images too.",
            style="yellow",
            markup=False,
        )
    if record.deep:
        console.print(f"{record.deep:,} images of 16 bits: scaled by the range of their type.", markup=False)
    if (found := dark(record)) is not None:
        console.print(f"Warning: {found.message}", style="yellow", markup=False)
    if record.skipped:
        console.print(f"Left out: {record.skipped:,} images that cannot be read.", markup=False)
    if record.other_files:
        endings = ", ".join(
            f"{count:,} {ending or 'without an ending'}" for ending, count in record.other_files.items()
        )
        console.print(f"Not imported: other files ({endings}).", markup=False)


@datasets_app.command("rename")
def rename_dataset(name: str, to: str) -> None:
    """Rename a dataset, for its runs too. Refused while a run that has not ended uses it."""
    with dataset_editor() as editor:
        editor.rename(name, to)
    console.print(f"Renamed {name} to {to}.", markup=False, highlight=False)


@datasets_app.command("delete")
def delete_dataset(
    name: str, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False
) -> None:
    """Delete a dataset. Its runs stay. Refused while a run that has not ended uses it."""
    with dataset_editor() as editor:
        usage = editor.usage(name)
        if usage.refusal:
            raise fail(usage.refusal)
        runs = f"{usage.runs:,} run{'' if usage.runs == 1 else 's'}"
        if not yes:
            typer.confirm(f"Delete {name} ({shown_size(usage.size)}, used by {runs})?", abort=True)
        editor.delete(name)
    console.print(f"Deleted {name}: {shown_size(usage.size)} freed.", markup=False, highlight=False)


@contextmanager
def dataset_editor() -> Iterator[DatasetEditor]:
    """Yield the editor of the home's datasets. Its errors end the command with a message."""
    from sqlalchemy import inspect

    from app.datasets.editing import DatasetEditor
    from app.errors import ApiError
    from app.storage.db import Database, SchemaTooNew

    settings = home_settings()
    database = Database(settings.url)
    try:
        if not inspect(database.engine).has_table("run"):
            database.migrate()  # a new home; another one is migrated by `trackside serve` alone
        yield DatasetEditor(database, settings)
    except (ApiError, TrainerError) as error:
        raise fail(error.message) from None
    except SchemaTooNew as error:
        raise fail(str(error)) from None
    finally:
        database.close()


def detail_lines(detail: Any) -> list[Any]:
    if isinstance(detail, dict) and isinstance(detail.get("files"), list):
        lines = [f"  {item.get('file')}: {item.get('reason')}" for item in detail["files"]]
        rest = detail.get("unreadable", len(lines)) - len(lines)
        return [*lines, f"  and {rest:,} more"] if rest else lines
    return [f"  {item}" for item in detail] if isinstance(detail, list) else []
