"""Every value of a run, as CSV or JSON, without holding more than one series in memory."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from trackside.run_handle import RunHandle

KINDS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def csv_blocks(run: RunHandle) -> Iterator[bytes]:
    """Yield the rows series, step, value, time."""
    with run.csv() as blocks:
        yield from blocks


def json_blocks(run: RunHandle) -> Iterator[bytes]:
    """Yield {"run": …, "series": {name: {"step", "value", "time", "nonfinite"?}}}, in the form of the API."""
    # An apostrophe stands before names that a spreadsheet would compute.
    names = {f"'{name}": name for name in run.metrics(points=1)}
    names |= {name: name for name in names.values()}
    yield f'{{"run": {json.dumps(run.data)}, "series": {{'.encode()
    with run.csv() as blocks:
        rows = csv.reader(_lines(blocks))
        next(rows)
        for number, (cell, points) in enumerate(groupby(rows, key=lambda row: row[0])):
            series = json.dumps(_series(points), allow_nan=False)
            yield f"{', ' if number else ''}{json.dumps(names.get(cell, cell))}: {series}".encode()
    yield b"}}\n"


def _series(rows: Iterable[list[str]]) -> dict[str, Any]:
    found: dict[str, list[Any]] = {"step": [], "value": [], "time": [], "nonfinite": []}
    for _, step, value, time in rows:
        number = float(value)
        found["step"].append(int(step))
        found["value"].append(number if math.isfinite(number) else None)
        found["time"].append(float(time))
        if not math.isfinite(number):
            found["nonfinite"].append({"step": int(step), "kind": KINDS[str(number)]})
    if not found["nonfinite"]:
        del found["nonfinite"]
    return found


def _lines(blocks: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line.decode() + "\n"
    if rest:
        yield rest.decode()
