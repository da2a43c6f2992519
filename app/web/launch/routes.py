"""The launch page: a form with the settings of a spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError
from starlette.responses import RedirectResponse

from app.datasets.datasets import Datasets
from app.datasets.notes import notes
from app.datasets.statistics import DatasetStatistics
from app.runs.launching import Launcher
from app.runs.projects import projects_of
from app.runs.public import RunPublic
from app.runs.requests import CloneRequest, NewRun, RunPatch
from app.runs.runs import Runs
from app.runs.variants import Between, NewVariants, checked_vary, launch_variants
from app.search.requests import NewSearch
from app.search.searches import Searches
from app.web.datasets.view import DatasetCard, dataset_card
from app.web.forms import render, texts
from app.web.launch.form import parse_overrides, preset_values, setting_groups, split_variants, typed_from
from app.web.launch.view import LaunchPage, PresetCard
from app.web.services import DatasetsDep, LauncherDep, RunsDep, SearchesDep, StatisticsDep
from trainer.spec.messages import in_words
from trainer.spec.preset import SpecError, build_spec, differences, presets

router = APIRouter(include_in_schema=False)

NOT_SETTINGS = (
    "dataset", "preset", "name", "project", "expectation", "tags", "from", "from_step", "draw", "how", "pruner",
    "smoke",
)  # fmt: skip
MISSING = {"dataset": "", "preset": ""}
SMOKE_STEPS = 20


@router.get("/runs/new")
def launch_page(
    request: Request,
    runs: RunsDep,
    datasets: DatasetsDep,
    statistics: StatisticsDep,
    parent: Annotated[str | None, Query(alias="from", max_length=40)] = None,
) -> Response:
    typed = {name: value for name, value in request.query_params.items() if name != "from"}
    parent_run = None if parent is None else runs.get(parent)
    if parent_run is not None:
        spec = parent_run.train_spec
        typed = {"dataset": parent_run.dataset, "preset": parent_run.preset or "", **typed_from(spec), **typed}
    return _launch_form(request, _cards(datasets, statistics), typed, {}, parent_run, projects_of(runs.database))


@router.post("/runs")
async def launch(
    request: Request,
    runs: RunsDep,
    launcher: LauncherDep,
    searches: SearchesDep,
    datasets: DatasetsDep,
    statistics: StatisticsDep,
) -> Response:
    typed = texts(await request.form())
    try:
        address = await run_in_threadpool(_launch, runs, launcher, searches, typed)
    except SpecError as error:
        errors = {name.removeprefix("overrides."): reason for name, reason in error.fields.items()}

        def form() -> Response:
            parent_run = runs.get(typed["from"]) if typed.get("from") else None
            cards, projects = _cards(datasets, statistics), projects_of(runs.database)
            return _launch_form(request, cards, typed, errors, parent_run, projects, 422)

        return await run_in_threadpool(form)
    return RedirectResponse(address, 303)


def _launch(runs: Runs, launcher: Launcher, searches: Searches, typed: Mapping[str, str]) -> str:
    """Queue the run or the variants of the form, or begin its search. Returns the URL of its page. Raises SpecError."""
    same, vary = split_variants({name: text for name, text in typed.items() if name not in NOT_SETTINGS})
    overrides = parse_overrides(same)
    if typed.get("smoke"):
        overrides |= {"max_steps": SMOKE_STEPS}
    fields = {name: typed[name] for name in ("dataset", "preset", "name", "project", "expectation") if typed.get(name)}
    try:
        if vary:
            if typed.get("from_step"):
                raise SpecError(dict.fromkeys(vary, "a branch is one run"))
            if typed.get("how") == "search":
                return _search(searches, typed, {**fields, "overrides": overrides}, checked_vary(vary))
            asked = {**fields, "overrides": overrides, "vary": checked_vary(vary), "draw": typed.get("draw") or None}
            return "/?" + urlencode({"group": launch_variants(launcher, NewVariants.model_validate(asked)).group})
        run = _clone(runs, launcher, typed, overrides) if typed.get("from") else None
        if run is None:
            tags = ["smoke"] if typed.get("smoke") else []
            run = launcher.create(NewRun.model_validate({**MISSING, **fields, "overrides": overrides, "tags": tags}))
    except ValidationError as error:
        raise SpecError({str(item["loc"][0]): in_words(item) for item in error.errors(include_url=False)}) from None
    return f"/runs/{run.id}"


def _search(
    searches: Searches, typed: Mapping[str, str], fields: dict[str, Any], vary: Mapping[str, list[Any] | Between]
) -> str:
    """Begin a search over the values that vary. Its objective is the figure that selects the best epoch."""
    space = {
        name: {"low": given.low, "high": given.high, "log": given.scale == "log"}
        if isinstance(given, Between)
        else {"choices": given}
        for name, given in vary.items()
    }
    fields.pop("expectation", None)
    asked = {
        **fields,
        "space": space,
        "objective": f"val/{fields['overrides'].get('select_by', 'acc')}",
        "pruner": typed.get("pruner") or "asha",
        "trials": typed.get("draw") or None,
    }
    try:
        return f"/searches/{searches.create(NewSearch.model_validate(asked)).id}"
    except SpecError as error:
        raise SpecError({name.removeprefix("space."): reason for name, reason in error.fields.items()}) from None
    except ValidationError as error:
        problems = error.errors(include_url=False)
        names = {"trials": "draw", "space": "draw"}
        raise SpecError(
            {names.get(str(item["loc"][0]), str(item["loc"][0])): in_words(item) for item in problems if item["loc"]}
            or {"draw": in_words(problems[0])}
        ) from None


def _clone(runs: Runs, launcher: Launcher, typed: Mapping[str, str], overrides: dict[str, Any]) -> RunPublic | None:
    """A clone of the parent run; None if dataset or preset differ from the parent's, which makes it a new run."""
    parent, dataset, preset = typed["from"], typed.get("dataset", ""), typed.get("preset", "")
    parent_run = runs.get(parent)
    if (parent_run.dataset, parent_run.preset) != (dataset, preset):
        if typed.get("from_step"):
            reason = "a branch keeps its parent's dataset and preset"
            raise SpecError({"dataset" if parent_run.dataset != dataset else "preset": reason})
        return None
    changed = differences(build_spec(dataset, preset, overrides), parent_run.train_spec)
    clone = CloneRequest.model_validate(
        {
            "name": typed.get("name") or None,
            "overrides": {field: new for field, (_, new) in changed.items()},
            "from_step": typed.get("from_step") or None,
        }
    )
    run = launcher.clone(parent, clone)
    said = {name: typed[name] for name in ("expectation", "project") if typed.get(name) not in (None, "")}
    return runs.patch(run.id, RunPatch.model_validate(said)) if said else run


def _cards(datasets: Datasets, statistics: DatasetStatistics) -> tuple[DatasetCard, ...]:
    """The datasets, with what their statistics mean for a run where these have been computed."""
    measured = ((record, statistics.of(record)) for record in datasets.list())
    return tuple(dataset_card(record, () if found is None else notes(record, found[0])) for record, found in measured)


def _launch_form(
    request: Request,
    cards: tuple[DatasetCard, ...],
    typed: Mapping[str, str],
    errors: Mapping[str, str],
    parent: RunPublic | None,
    projects: Sequence[str],
    status: int = 200,
) -> Response:
    dataset = typed.get("dataset") or next((card.record.name for card in cards), "")
    preset = typed.get("preset", "")
    if preset not in presets():
        preset = next(iter(presets()))
    page = LaunchPage(
        datasets=cards,
        dataset=dataset,
        presets=tuple(PresetCard(item, preset_values("-", item.name)) for item in presets().values()),
        preset=preset,
        groups=setting_groups("-", preset, typed, errors),
        typed=typed,
        errors=errors,
        parent=parent,
        projects=tuple(projects),
    )
    return render(request, "launch/index.html", page, status)
