"""Whatever lies in an event file, it is read to its end, and what is whole in it is taken in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.jobs.conclude import conclude
from app.jobs.derived_status import summarize_events
from app.jobs.ingest import ingest
from app.jobs.kinds import RUN
from app.jobs.tail import is_behind, tail_of
from app.metrics.reader import Metrics
from app.runs.public import public
from app.storage.db import Database
from app.storage.tables import Run, Status
from tests.databases import new_database
from trainer.rundir.event_shapes import SHAPES

EXAMPLES = int(os.environ.get("TRACKSIDE_TEST_EXAMPLES", "100"))
T = 1_790_000_000.0
VALID: list[dict[str, Any]] = [
    {"e": "start", "from_step": 0, "total_steps": 100, "steps_per_epoch": 10, "epochs": 10, "device": "cpu",
     "val_count": 50, "parameters": 10},
    {"e": "start", "from_step": 5, "total_steps": 100, "steps_per_epoch": 10, "epochs": 10, "device": "cpu",
     "val_count": 50},
    {"e": "plan", "total_steps": 50, "epochs": 5},
    {"e": "phase", "phase": "training"},
    {"e": "epoch", "epoch": 1},
    {"e": "metrics", "step": 3, "v": {"train/loss": 4.5, "throughput": 900.0}},
    {"e": "metrics", "step": 7, "v": {"val/loss": "NaN", "val/acc": 0.5, "throughput": "Infinity"}},
    {"e": "checkpoint", "step": 7, "epoch": 1, "sha256": "ab", "size": 5, "metrics": {"val/acc": 0.5}, "best": True},
    {"e": "pruned", "steps": [7]},
    {"e": "finding", "step": 7, "kind": "k", "level": "warn", "message": "m", "evidence": {}},
    {"e": "finding_ended", "step": 8, "kind": "k"},
    {"e": "log", "line": "a line"},
    {"e": "end", "reason": "finished", "step": 9, "summary": {"test/acc": 0.5}, "error": None},
    {"e": "end", "reason": "failed", "step": 9, "summary": {}, "error": {"code": "x", "message": "x", "detail": None}},
]  # fmt: skip

anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """An event, mostly with a field that is changed or gone; or bytes."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=30)) + b"\n"
    event = {"t": T, **draw(st.sampled_from(VALID))}
    if draw(st.booleans()):
        event[draw(st.sampled_from(sorted(event)))] = draw(anything)
    if draw(st.integers(0, 9)) == 0:
        event.pop(draw(st.sampled_from(sorted(event))))
    line = orjson.dumps(event)
    return (line[: draw(st.integers(0, len(line)))] if draw(st.integers(0, 19)) == 0 else line) + b"\n"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = new_database(tmp_path_factory.mktemp("fuzz") / "t.db")
    yield database
    database.close()


NUMBERS = count()


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(lines(), max_size=12))
def test_any_event_file_is_read_to_its_end(database: Database, tmp_path: Path, written: list[bytes]) -> None:
    name = f"run{next(NUMBERS)}"
    folder = tmp_path / name
    (folder / "events").mkdir(parents=True)
    path = folder / "events" / "1.jsonl"
    whole = orjson.dumps({"e": "metrics", "t": T, "step": 2**50, "v": {"the/last": 1.0}}) + b"\n"
    path.write_bytes(b"".join(written) + whole)
    run = Run(
        id=name, name="r", dataset="d", model="cnn", spec={"batch_size": 64}, status=Status.STARTING, claim=1, attempt=1
    )
    with database.write() as session:
        session.add(run)
    end = None
    while is_behind(run, folder):
        with database.write() as session:
            end = ingest(session, run, folder) or end
    assert run.tail_offset == path.stat().st_size
    assert Metrics(database).read(name, ["the/last"])["series"]["the/last"]["value"] == [1.0]
    orjson.dumps(public(run).model_dump(mode="json"))
    summarize_events(folder, tail_of(run))
    if end is not None:
        with database.write() as session:
            conclude(session, RUN, run, end)


def test_every_kind_has_a_case() -> None:
    assert {event["e"] for event in VALID} == {*SHAPES, "metrics"} - {"progress"}
