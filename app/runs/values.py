"""The settings of a run and the metrics of its summary as rows: what the list of runs searches, sorts and groups by.

They repeat what `Run.spec` and `Run.summary` hold. A query reads only the rows of the names that it mentions, where it
would have to parse the specs of all runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from sqlalchemy import delete, insert
from sqlmodel import Session, col, select

from app.runs.run_fields import CONFIG
from app.storage.tables import Run, RunValue, ValueName

MOST_CONFIG_VALUES = 300
LONGEST_NAME = 200
LONGEST_TEXT = 500
NOT_SETTINGS = ("dataset", "preset")  # they are columns of the run
Value = tuple[float | None, str | None]  # number, text


def add_values(session: Session, run: Run) -> None:
    """Write the settings of a new run, and the metrics of its summary. The run has its key."""
    settings = {name: value for name, value in run.spec.items() if name not in NOT_SETTINGS}
    _insert(session, run, {name: value_of(value) for name, value in flat(settings)})
    if run.summary:
        put_metrics(session, run)


def put_metrics(session: Session, run: Run) -> None:
    """Write the metrics of the run's summary in place of those that were there."""
    settings = dict(flat(run.spec))
    found = {
        name: (float(value), None) for name, value in run.summary.items() if name not in settings and _is_metric(value)
    }
    of_settings = select(ValueName.key).where(col(ValueName.name).in_(settings))
    session.exec(delete(RunValue).where(col(RunValue.run) == run.key, col(RunValue.name).not_in(of_settings)))
    _insert(session, run, found)


def put_script_values(session: Session, run: Run, config: Mapping[str, Any]) -> None:
    """Write the metrics of a script run's summary, and its settings as `config/…`, in place of those before."""
    found: dict[str, Value] = {name: (float(value), None) for name, value in run.summary.items() if _is_metric(value)}
    for name, value in islice(flat(config), MOST_CONFIG_VALUES):
        if len(name) <= LONGEST_NAME and (value is None or isinstance(value, str | list | int | float)):
            number, text = value_of(value)
            found[f"{CONFIG}{name}"] = number, None if text is None else text[:LONGEST_TEXT]
    session.exec(delete(RunValue).where(col(RunValue.run) == run.key))
    _insert(session, run, found)


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value of nested mappings with its dotted name."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def value_of(setting: Any) -> Value:
    """Return a setting as it is stored: a number for numbers and truth values, a text for texts and lists."""
    if setting is None or isinstance(setting, str):
        return None, setting
    if isinstance(setting, list | tuple):
        return None, ",".join(map(str, setting))
    return float(setting), None


def _is_metric(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _insert(session: Session, run: Run, values: Mapping[str, Value]) -> None:
    keys = _keys(session, values)
    rows = [
        {"name": keys[name], "run": run.key, "number": number, "text": text} for name, (number, text) in values.items()
    ]
    if rows:
        session.connection().execute(insert(RunValue), rows)


def _keys(session: Session, names: Mapping[str, Any]) -> dict[str, int]:
    """Return the key of each name; names that are new are added."""
    named = select(ValueName.name, ValueName.key).where(col(ValueName.name).in_(names))
    known = dict(session.exec(named).all())
    if missing := [name for name in names if name not in known]:
        session.connection().execute(insert(ValueName), [{"name": name} for name in missing])
        known = dict(session.exec(named).all())
    return {name: key for name in names if (key := known[name]) is not None}
