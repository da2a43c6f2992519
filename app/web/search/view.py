"""The template contexts of `/searches` and `/searches/{id}`, with their texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.display.formatting import duration, metric, metric_name, number, setting
from app.display.labels import setting_label
from app.display.parallel import Axis, Parallel, ParallelRun, setting_axis
from app.runs.launching import Launcher
from app.search.public import SearchPublic, TrialPublic, public_of
from app.search.requests import Choices, Domain
from app.search.searches import Searches, rungs_of
from app.web.search.plots import Plot, best_so_far, slices
from trainer.data.errors import DatasetError
from trainer.errors import TrainerError
from trainer.spec.preset import SpecError

RANKS = 5  # colors of the lines of parallel coordinates, from the best fifth of the trials to the worst
MOST_LINES = 200
MOST_ROWS = 200
LEAST_NARROWED = 5  # trials with a value before the ranges can be narrowed


@dataclass(frozen=True)
class SearchLine:
    id: str
    name: str
    status: str
    dataset: str
    space: str
    trials: str
    best: str
    created_at: datetime


@dataclass(frozen=True)
class SearchesPage:
    searches: list[SearchLine]
    section: str = "searches"


@dataclass(frozen=True)
class TrialLine:
    """`values` are those of the settings, in the order of the page's columns."""

    number: int
    run: str
    state: str
    value: str
    values: tuple[str, ...]
    rung: str
    is_best: bool


@dataclass(frozen=True)
class RungLine:
    number: int
    trained: str
    reached: int
    best: str


@dataclass(frozen=True)
class SearchPage:
    search: SearchPublic
    objective: str
    limits: str
    best: str
    spent: str
    columns: tuple[str, ...]
    space: tuple[tuple[str, str], ...]
    lines: tuple[TrialLine, ...]
    left_out: int
    rungs: tuple[RungLine, ...]
    importance: tuple[tuple[str, float], ...]
    history: Plot | None
    slices: tuple[tuple[str, Plot], ...]
    parallel: str
    can_narrow: bool
    section: str = "searches"


def searches_page(searches: Searches) -> SearchesPage:
    lines = []
    for search in searches.all():
        found = public_of(search, searches.trials(search), with_importance=False)
        lines.append(
            SearchLine(
                id=search.id,
                name=search.name,
                status=search.status,
                dataset=search.request.dataset,
                space=", ".join(setting_label(name) for name in search.request.space),
                trials=f"{len(found.trials)}{f' of {search.trials}' if search.trials else ''}",
                best=value_text(found, found.best),
                created_at=search.created_at,
            )
        )
    return SearchesPage(lines)


def search_page(searches: Searches, launcher: Launcher, search_id: str) -> SearchPage:
    """Raises ApiError 404."""
    search = searches.get(search_id)
    found = public_of(search, searches.trials(search))
    request = found.request
    sign = 1 if request.minimizes else -1
    ranked = sorted(found.trials, key=lambda t: (t.value is None, -t.rung, sign * (t.value or 0.0), t.number))
    return SearchPage(
        search=found,
        objective=metric_name(request.objective),
        limits=_limits(found),
        best=value_text(found, found.best),
        spent=duration(60 * found.device_minutes) or "0 s",
        columns=tuple(setting_label(name) for name in request.space),
        space=tuple((setting_label(name), domain_text(domain)) for name, domain in request.space.items()),
        lines=tuple(_line(found, trial) for trial in ranked[:MOST_ROWS]),
        left_out=max(0, len(ranked) - MOST_ROWS),
        rungs=_rungs(searches, launcher, found),
        importance=tuple((setting_label(name), share) for name, share in (found.importance or {}).items())
        if len(request.space) > 1
        else (),
        history=best_so_far(request, found.trials),
        slices=tuple((setting_label(name), plot) for name, plot in slices(request, found.trials)),
        parallel=_parallel(found, ranked).model_dump_json(),
        can_narrow=sum(trial.value is not None for trial in found.trials) >= LEAST_NARROWED,
    )


def value_text(search: SearchPublic, trial: TrialPublic | None) -> str:
    return "–" if trial is None or trial.value is None else metric(search.request.objective, trial.value)


def domain_text(domain: Domain) -> str:
    if isinstance(domain, Choices):
        return ", ".join(map(setting, domain.choices))
    scale = "log" if domain.log else f"step {number(domain.step)}" if domain.step is not None else ""
    return f"{number(domain.low)} to {number(domain.high)}{f' ({scale})' if scale else ''}"


def _limits(search: SearchPublic) -> str:
    parts = [f"{search.trials_limit} trials"] if search.trials_limit else []
    if search.device_minutes_limit:
        parts.append(f"{number(search.device_minutes_limit)} device minutes")
    if search.request.until is not None:
        parts.append(f"until {search.request.until:%Y-%m-%d %H:%M %Z}")
    return " or ".join(parts)


def _line(search: SearchPublic, trial: TrialPublic) -> TrialLine:
    return TrialLine(
        number=trial.number,
        run=trial.run,
        state=trial.state,
        value=value_text(search, trial),
        values=tuple(setting(trial.params[name]) for name in search.request.space),
        rung=f"{trial.step:,} of {trial.total_steps:,} steps",
        is_best=search.best is not None and trial.run == search.best.run,
    )


def _rungs(searches: Searches, launcher: Launcher, search: SearchPublic) -> tuple[RungLine, ...]:
    """A line per rung; none if there is only one, or if the search's dataset is gone."""
    try:
        steps, per_epoch = rungs_of(launcher, searches, search.request)
    except (SpecError, DatasetError, TrainerError):
        return ()
    lines = []
    for number_, step in enumerate(steps):
        reached = [trial for trial in search.trials if trial.rung > number_]
        values = [trial.value for trial in reached if trial.value is not None]
        best = (min if search.request.minimizes else max)(values) if values else None
        text = "–" if best is None else metric(search.request.objective, best)
        epochs = step // per_epoch
        trained = f"{epochs:,} epoch{'' if epochs == 1 else 's'}" if step % per_epoch == 0 else f"{step:,} steps"
        lines.append(RungLine(number_ + 1, trained, len(reached), text))
    return tuple(lines) if len(lines) > 1 else ()


def _parallel(search: SearchPublic, ranked: Sequence[TrialPublic]) -> Parallel:
    """The trials that have a value, the worst first, so that the best are drawn on top."""
    sign = 1 if search.request.minimizes else -1
    valued = sorted((t for t in ranked if t.value is not None), key=lambda t: sign * (t.value or 0.0))[:MOST_LINES]
    if not valued:
        return Parallel(runs=[], axes=[])
    runs = [
        ParallelRun(slot=index, name=f"trial {trial.number}", rank=RANKS * index // len(valued))
        for index, trial in enumerate(valued)
    ]
    in_percent = metric(search.request.objective, valued[0].value).endswith("%")
    objective = Axis(
        name=metric_name(search.request.objective),
        title=search.request.objective,
        unit="%, best" if in_percent else "best",
        scale="linear",
        values=[(100 if in_percent else 1) * (trial.value or 0.0) for trial in valued],
    )
    axes = [setting_axis(name, [trial.params[name] for trial in valued]) for name in search.request.space]
    shown = [*axes, objective]
    for axis in shown:
        axis.values.reverse()
    return Parallel(runs=list(reversed(runs)), axes=shown)
