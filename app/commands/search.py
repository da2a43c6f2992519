"""`trackside search`: begin a search on this machine's home, whose workers carry it out, and watch it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from app.commands.assignments import parse_assignments
from app.commands.completion import dataset_names, preset_names, setting_names
from app.commands.console import console, fail
from app.commands.home import home_settings

POLL_SECONDS = 1.0

search_app = typer.Typer(
    no_args_is_help=True, help="Search for the best settings; a server's workers train the trials."
)
Identifier = Annotated[str, typer.Argument(metavar="SEARCH")]


@search_app.command()
def start(
    preset: Annotated[str, typer.Option(autocompletion=preset_names)],
    dataset: Annotated[str, typer.Option(autocompletion=dataset_names)],
    space: Annotated[
        list[str],
        typer.Option(
            help="A setting with its range (optimizer.lr=1e-4..1e-1) or choices (model.name=cnn,mlp); as often as "
            "needed. Ranges that span a factor of ten or more are logarithmic.",
            autocompletion=setting_names,
        ),
    ],
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="field=value, as often as needed", autocompletion=setting_names)
    ] = None,
    name: Annotated[str | None, typer.Option()] = None,
    sampler: Annotated[str, typer.Option(help="tpe, random, grid or cmaes")] = "tpe",
    pruner: Annotated[str, typer.Option(help="asha, median or none")] = "asha",
    objective: Annotated[str, typer.Option(help="A figure of the validation split.")] = "val/acc",
    trials: Annotated[int | None, typer.Option(min=1)] = None,
    device_minutes: Annotated[float | None, typer.Option(min=0)] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until the search has ended.")] = False,
) -> None:
    """Begin a search, and print its id. `trackside serve` carries it out, now or later."""
    from app.search.requests import NewSearch
    from trainer.spec.preset import SpecError

    body = {
        "dataset": dataset, "preset": preset, "name": name, "overrides": parse_assignments(assignments or []),
        "space": dict(map(_domain, space)), "sampler": sampler, "pruner": pruner, "objective": objective,
        "trials": trials, "device_minutes": device_minutes, "seed": seed,
    }  # fmt: skip
    with _searches() as searches:
        try:
            found = searches.create(NewSearch.model_validate(body))
        except SpecError as error:
            raise fail("; ".join(f"{field}: {reason}" for field, reason in error.fields.items())) from None
        except ValidationError as error:
            raise fail("; ".join(item["msg"].removeprefix("Value error, ") for item in error.errors())) from None
        typer.echo(found.id)
        if wait:
            _watch(searches, found.id)


@search_app.command("list")
def list_searches() -> None:
    """List the searches, the newest first."""
    with _searches() as searches:
        for search in searches.all():
            typer.echo(f"{search.id}  {search.status:<8}  {search.created_at:%Y-%m-%d %H:%M}  {search.name}")


@search_app.command()
def show(search: Identifier) -> None:
    """Show the trials of a search, the best first."""
    from app.search.public import public_of

    with _searches() as searches:
        found = searches.get(search)
        public = public_of(found, searches.trials(found))
    sign = 1 if found.request.minimizes else -1
    typer.echo(f"{public.name}: {public.status}, {len(public.trials)} trials, {public.device_minutes:.1f} minutes")
    for trial in sorted(public.trials, key=lambda t: (t.value is None, -t.rung, sign * (t.value or 0.0))):
        values = " ".join(f"{name}={value}" for name, value in trial.params.items())
        value = "-" if trial.value is None else f"{trial.value:.5g}"
        typer.echo(f"{value:>8}  {trial.state:<8}  {trial.run}  {values}")


@search_app.command()
def watch(search: Identifier) -> None:
    """Follow a search until it has ended. Exits with 0 only if it has finished."""
    with _searches() as searches:
        _watch(searches, search)


@search_app.command()
def stop(search: Identifier) -> None:
    """End a search: its trials stop and are kept."""
    with _searches() as searches:
        searches.stop(search)


@search_app.command()
def resume(
    search: Identifier,
    trials: Annotated[int, typer.Option(min=0, help="Trials to add.")] = 0,
    device_minutes: Annotated[float, typer.Option(min=0, help="Minutes of training to add.")] = 0.0,
) -> None:
    """Continue a search that has ended."""
    from app.search.requests import MoreTrials

    with _searches() as searches:
        searches.resume(search, MoreTrials(trials=trials, device_minutes=device_minutes))


@contextmanager
def _searches() -> Iterator[Any]:
    from contextlib import closing

    from app.errors import ApiError
    from app.runs.launching import Launcher
    from app.runs.runs import Runs
    from app.search.searches import Searches
    from app.storage.db import Database

    settings = home_settings()
    with closing(Database(settings.url)) as database:
        database.migrate()
        runs, launcher = Runs(database, settings), Launcher(database, settings)
        try:
            yield Searches(database, settings, launcher, runs)
        except ApiError as error:
            raise fail(error.message) from None


def _watch(searches: Any, search_id: str) -> None:
    from app.search.public import public_of
    from app.search.searches import SearchStatus

    told = ""
    while True:
        search = searches.get(search_id)
        found = public_of(search, searches.trials(search), with_importance=False)
        best = "-" if found.best is None or found.best.value is None else f"{found.best.value:.5g}"
        line = f"{found.status}: {len(found.trials)} trials, best {search.request.objective} {best}"
        if line != told:
            console.print(line)
        told = line
        if search.status != SearchStatus.RUNNING:
            raise typer.Exit(0 if search.status == SearchStatus.FINISHED else 1)
        time.sleep(POLL_SECONDS)


def _domain(text: str) -> tuple[str, dict[str, Any]]:
    name, equals, values = text.partition("=")
    ends = values.split("..")
    if not equals or not values:
        raise fail(f"--space wants setting=low..high or setting=a,b,c, not {text!r}")
    try:
        if len(ends) == 2:
            low, high = map(float, ends)
            return name, {"low": low, "high": high, "log": low > 0 and high >= 10 * low}
    except ValueError:
        raise fail(f"--space {name}: {values!r} is not a range of numbers") from None
    choices = [parse_assignments([f"{name}={value.strip()}"])[name] for value in values.split(",")]
    return name, {"choices": choices}
