"""Compare runs: their metrics, differing settings, seed groups, and pairwise significance (McNemar's test)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Literal

from pydantic import BaseModel, Field
from sqlmodel import Session, col, select

from app.datasets.datasets import Datasets
from app.display.formatting import short
from app.errors import invalid, not_found
from app.results.outcomes import half_width_of, losses_at_best, parameters_of, seconds_of
from app.results.paired import Pair, pairs_of
from app.results.seeds import grouped, spread
from app.runs.public import RunPublic, public
from app.runs.query import rows_by_id
from app.runs.runs import Runs
from app.runs.values import flat
from app.storage.changes import current_seq
from app.storage.db import Database
from app.storage.tables import Run, ScriptRecord, Source
from trainer.spec.preset import flatten

MOST_RUNS = 12
MOST_FIELDS = 20_000  # that are compared: a script may have very many


class Compared(BaseModel):
    """A run of a comparison. `slot` is its place, which decides its colour."""

    slot: int
    id: str
    name: str
    source: Source
    project: str
    status: str
    dataset: str
    preset: str | None
    model: str
    epoch: int
    epochs: int
    step: int
    total_steps: int | None
    steps_per_epoch: int | None
    best_acc: float | None = Field(description="Best validation accuracy, from 0 to 1.")
    half_width: float | None = Field(description="Half of its 95% Wilson interval.")
    val_count: int | None = Field(exclude=True)  # for the interval that the pages show
    best_step: int | None
    best_epoch: int | None
    best_loss: float | None = Field(description="Validation loss at the best step.")
    started_at: datetime | None
    losses: dict[str, str] = Field({}, description="Of a script run: its series of the loss, by train and val.")
    latest: dict[str, str] = Field({}, description="Of a script run: the latest value of each loss, as text.")
    seconds: float | None = Field(description="From its start to its end; null while it has not ended.")
    parameters: int | None = Field(description="Null for runs that were trained before the count was kept.")


class DifferingSetting(BaseModel):
    field: str
    values: dict[str, Any] = Field(description="By run.")


class SeedGroup(BaseModel):
    """Two runs or more that differ in nothing but their seed."""

    runs: list[str]
    mean: float | None = Field(description="Of the best validation accuracies.")
    sd: float | None = Field(description="Their sample deviation; null for fewer than two.")
    count: int


class PairedComparison(BaseModel):
    """McNemar's test of two runs' answers to the same validation images, each at its best step."""

    first: str
    second: str
    verdict: Literal["differ", "cannot tell apart"] | None = Field(description="At p = 0.05; null where not tested.")
    p: float | None
    only_first: int | None = Field(description="Images that only the first got right.")
    only_second: int | None = Field(description="Images that only the second got right.")
    images: int
    reason: str = Field(description="Why the two were not tested.")


class Comparison(BaseModel):
    runs: list[Compared]
    settings: list[DifferingSetting]
    groups: list[SeedGroup]
    pairs: list[PairedComparison]
    seq: int = Field(description="The live feed's place: events after it are news.")


def slots_of(asked: Sequence[str]) -> list[str]:
    """Return the run ids by slot, from lists of ids separated by commas.

    An empty slot keeps the colors of the slots after it. A repeated id counts once: its later slots become empty.
    Empty slots are dropped if there are more than MOST_RUNS slots. Raises ApiError 422 for more than MOST_RUNS ids.
    """
    ids = [item.strip() for text in asked for item in text.split(",")]
    slots = ["" if item in ids[:index] else item for index, item in enumerate(ids)]
    while slots and not slots[-1]:
        slots.pop()
    if len(slots) > MOST_RUNS:
        slots = [item for item in slots if item]
    if len(slots) > MOST_RUNS:
        raise invalid([(["runs"], f"at most {MOST_RUNS} runs can be compared")])
    return slots


def compare(database: Database, runs: Runs, datasets: Datasets, slots: Sequence[str]) -> Comparison:
    """Compare the runs in `slots`, without the empty ones. Raises ApiError 404 for an unknown run."""
    ids = [item for item in slots if item]
    with database.read() as session:
        seq = current_seq(session)
        rows = rows_by_id(session, ids)
        losses = losses_at_best(session, ids)
        configs = _configs(session, rows)
    found = {row.id: public(row, seq) for row in rows}
    for item in ids:
        if item not in found:
            raise not_found("run", item)
    ordered = [found[item] for item in ids]
    trained = [run for run in ordered if not run.is_script]
    folders = {item: runs.folder(item) for item in ids}
    return Comparison(
        runs=[_compared(slots.index(run.id), run, losses.get(run.id)) for run in ordered],
        settings=differing(ordered, configs),
        groups=[_seed_group(group) for group in grouped(trained) if len(group) > 1],
        pairs=[_paired(pair) for pair in pairs_of(trained, folders, datasets)],
        seq=seq,
    )


def _configs(session: Session, rows: Sequence[Run]) -> dict[str, Mapping[str, Any]]:
    """Return the configurations of the script runs."""
    ids = {row.key: row.id for row in rows if row.source == Source.SCRIPT}
    if not ids:
        return {}
    found = session.exec(select(ScriptRecord).where(col(ScriptRecord.run).in_(ids))).all()
    return {ids[record.run]: record.config for record in found}


def differing(
    runs: Sequence[RunPublic], configs: Mapping[str, Mapping[str, Any]] | None = None
) -> list[DifferingSetting]:
    """Return the settings that differ between the runs; those of script runs are in `configs`."""
    every = {run.id: _settings_of(run, (configs or {}).get(run.id, {})) for run in runs}
    fields = dict.fromkeys(field for values in every.values() for field in values)
    found = []
    for field in islice(fields, MOST_FIELDS):
        values = {run_id: settings.get(field) for run_id, settings in every.items()}
        if any(value != values[runs[0].id] for value in values.values()):
            found.append(DifferingSetting(field=field, values=values))
    return found


def _settings_of(run: RunPublic, config: Mapping[str, Any]) -> dict[str, Any]:
    if run.is_script:
        return dict(flat(config))
    return {"dataset": run.dataset, "preset": run.preset, **flatten(run.train_spec)}


def _compared(slot: int, run: RunPublic, best_loss: float | None) -> Compared:
    losses = {split: name for split, name in (run.spark.get("names") or {}).items() if name}
    return Compared(
        slot=slot,
        half_width=half_width_of(run),
        best_loss=best_loss,
        seconds=seconds_of(run),
        parameters=parameters_of(run),
        losses=losses,
        latest={split: _as_text(run.summary.get(name)) for split, name in losses.items()},
        **run.model_dump(include=Compared.model_fields.keys() - {"slot", "half_width", "losses", "latest"}),
    )


def _as_text(value: Any) -> str:
    return short(value) if isinstance(value, int | float) else str(value or "")


def _seed_group(runs: Sequence[RunPublic]) -> SeedGroup:
    found = spread([run.best_acc for run in runs if run.best_acc is not None])
    return SeedGroup(
        runs=[run.id for run in runs],
        mean=found and found.mean,
        sd=found and found.sd,
        count=found.count if found else 0,
    )


def _paired(pair: Pair) -> PairedComparison:
    test = pair.test
    return PairedComparison(
        first=pair.first.id,
        second=pair.second.id,
        verdict=None if test is None else "differ" if test.differ else "cannot tell apart",
        p=test and test.p,
        only_first=test and test.only_first,
        only_second=test and test.only_second,
        images=pair.images,
        reason=pair.reason,
    )
