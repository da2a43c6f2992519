"""Runs of MLflow are imported from its folders and from its database, as MLflow 3 writes them."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.client.protocol_server import KnownRun, ProtocolServer
from trackside.imports.content import Content
from trackside.imports.items import Unusable
from trackside.mlflow_files.meta import read_meta
from trackside.mlflow_files.source import MlflowRun, find
from trackside.png import encode_png
from trainer.rundir.event_shapes import SCRIPT_SHAPES, is_well_formed

PNG = encode_png(bytes(range(48)), 4, 4, 3)
BEGAN = 1_700_000_000_000
RUN, CHILD, DELETED = (digit * 32 for digit in "abc")
METRICS = {
    "train/loss": [(1, 0.5, 0), (2, 0.25, 1)],
    "order": [(3, 1.0, 5), (4, 2.0, 2), (5, 3.0, 5)],
    "unnumbered": [(3, 1.0, 0), (3, 2.0, 0), (4, 3.0, 0)],
    "bad": [(6, float("nan"), 0), (7, float("inf"), 1), (8, float("-inf"), 2)],
}
POINTS = {
    "train/loss": [(0, 0.5), (1, 0.25)],
    "order": [(2, 2.0), (5, 3.0)],
    "unnumbered": [(0, 1.0), (1, 2.0), (2, 3.0)],
    "bad": [(0, "NaN"), (1, "Infinity"), (2, "-Infinity")],
}
PARAMS = {"lr": "0.1", "opt/name": "sgd", "epochs": "3", "nesterov": "True", "id": "007", "bound": "inf"}
CONFIG = {"lr": 0.1, "opt/name": "sgd", "epochs": 3, "nesterov": True, "id": "007", "bound": "inf"}
TAGS = {
    "mlflow.runName": "first", "mlflow.note.content": "one\ntwo", "mlflow.source.name": "train.py",
    "mlflow.source.git.commit": "c0ffee", "team": "vision", "done": "",
}  # fmt: skip
IMAGE = "images/samples~a+step+2+timestamp+1700000000009+00000000-1111-2222-3333-444444444444"


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def run_folder(experiment: Path, run_id: str, *, status: int = 3, stage: str = "active", name: str = "first") -> Path:
    folder = experiment / run_id
    write(
        folder, "meta.yaml", f"end_time: {BEGAN + 9000 if status > 2 else 'null'}\nlifecycle_stage: {stage}\n"
        f"run_id: {run_id}\nrun_name: {name}\nstart_time: {BEGAN}\nstatus: {status}\ntags: []\n",
    )  # fmt: skip
    return folder


def write_metrics(folder: Path, metrics: dict[str, list[tuple[int, float, int]]]) -> None:
    for name, points in metrics.items():
        write(folder, f"metrics/{name}", "".join(f"{BEGAN + time} {value} {step}\n" for time, value, step in points))


def write_artifacts(folder: Path) -> None:
    for name in (f"{IMAGE}.png", f"{IMAGE}+compressed.webp", "plots/roc.png", "model.pkl"):
        write(folder, name, "")
        (folder / name).write_bytes(PNG)


@pytest.fixture
def mlruns(tmp_path: Path) -> Path:
    """One experiment with a run, a run that is nested in it, and one that was deleted."""
    root = tmp_path / "mlruns"
    write(root / "1", "meta.yaml", "experiment_id: '1'\nlifecycle_stage: active\nname: 'it''s\n  long'\n")
    folder = run_folder(root / "1", RUN)
    write_metrics(folder, METRICS)
    write_artifacts(folder / "artifacts")
    for kind, values in (("params", PARAMS), ("tags", TAGS)):
        for name, text in values.items():
            write(folder, f"{kind}/{name}", text)
    child = run_folder(root / "1", CHILD, status=4, name="child")
    write(child, "tags/mlflow.parentRunId", RUN)
    run_folder(root / "1", DELETED, stage="deleted")
    run_folder(root / ".trash", DELETED)
    return root


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The same runs in a database: the tables and columns that are read."""
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as opened, opened:
        opened.executescript(
            """
            CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name TEXT, lifecycle_stage TEXT);
            CREATE TABLE runs (run_uuid TEXT PRIMARY KEY, name TEXT, status TEXT, start_time BIGINT, end_time BIGINT,
                lifecycle_stage TEXT, artifact_uri TEXT, experiment_id INTEGER);
            CREATE TABLE metrics (key TEXT, value FLOAT, timestamp BIGINT, run_uuid TEXT, step BIGINT, is_nan BOOLEAN);
            CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);
            CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT);
            INSERT INTO experiments VALUES (1, 'it''s long', 'active'), (2, 'gone', 'deleted');
            """
        )
        artifacts = (tmp_path / "elsewhere").as_uri()
        write_artifacts(tmp_path / "elsewhere")
        rows = [(RUN, "first", "FINISHED", "active", 1), (CHILD, "child", "FAILED", "active", 1)]
        rows += [(DELETED, "", "FINISHED", "deleted", 1), ("d" * 32, "", "FINISHED", "active", 2)]
        opened.executemany(
            "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [(*row[:3], BEGAN, BEGAN + 9000, row[3], artifacts if row[0] == RUN else "", row[4]) for row in rows],
        )
        for name, points in METRICS.items():
            for time, value, step in points:
                finite = 0.0 if value != value else max(min(value, sys.float_info.max), -sys.float_info.max)
                values = (name, finite, BEGAN + time, RUN, step, value != value)
                opened.execute("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", values)
        opened.executemany("INSERT INTO params VALUES (?, ?, ?)", [(*pair, RUN) for pair in PARAMS.items()])
        opened.executemany("INSERT INTO tags VALUES (?, ?, ?)", [(*pair, RUN) for pair in TAGS.items()])
        opened.execute("INSERT INTO tags VALUES ('mlflow.parentRunId', ?, ?)", (RUN, CHILD))
    return path


def run_named(server: ProtocolServer, name: str) -> KnownRun:
    (found,) = [run for run in server.runs.values() if run.announced["name"] == name]
    return found


def points_of(source: MlflowRun) -> tuple[dict[str, list[tuple[int, Any]]], str]:
    """The points as they are sent, and what was left out."""
    found: dict[str, list[tuple[int, Any]]] = {}
    with closing(Content(source)) as content:
        content.read()
        for line in content.bytes_at(0, content.size).splitlines():
            event = json.loads(line)
            for name, value in event["v"].items() if event["e"] == "metrics" else ():
                found.setdefault(name, []).append((event["step"], value))
        return found, content.left_out_in_words()


@pytest.mark.parametrize("store", ["mlruns", "database"])
def test_a_store_is_imported(
    imported: Callable[..., str], protocol_server: ProtocolServer, store: str, request: pytest.FixtureRequest
) -> None:
    said = imported("mlflow", request.getfixturevalue(store))
    assert "first: 10 values" in said
    assert "first: left out 1 artifacts that are not images." in said
    assert set(protocol_server.runs) == {f"mlflow-{RUN[:24]}", f"mlflow-{CHILD[:24]}"}
    run, child = run_named(protocol_server, "first"), run_named(protocol_server, "child")
    assert {key: run.announced.get(key) for key in ("project", "group", "notes", "tags")} == {
        "project": "it's long", "group": None, "notes": "one\ntwo", "tags": ["done", "team=vision"],
    }  # fmt: skip
    assert all(is_well_formed(event, SCRIPT_SHAPES) for event in run.events())
    assert {name: run.points(name) for name in POINTS} == POINTS
    assert [event["v"] for event in run.events("config")] == [CONFIG]
    assert run.events("metrics")[0]["t"] == BEGAN / 1000 + 0.001
    images = [(event["key"], event["step"], event["t"]) for event in run.events("image")]
    assert images == [("plots/roc.png", 0, BEGAN / 1000), ("samples/a", 2, BEGAN / 1000 + 0.009)]
    assert list(run.files.values()) == [PNG]
    environment = run.events("environment")[0]["v"]
    assert (environment["command"], environment["git"]) == (["train.py"], {"commit": "c0ffee"})
    assert (run.events("start")[0]["t"], run.events("end")[0]["t"]) == (BEGAN / 1000, BEGAN / 1000 + 9)
    assert [one.events("end")[0]["status"] for one in (run, child)] == ["finished", "failed"]
    assert child.announced["group"] == "first"


def test_both_stores_give_the_same_runs(mlruns: Path, database: Path) -> None:
    assert database.parent == mlruns.parent
    assert [source.path for source in find(mlruns.parent)] == [str(mlruns / "1" / run) for run in (RUN, CHILD)]
    for source in (find(mlruns)[0], find(database)[0]):
        assert points_of(source)[0] == POINTS
        assert source.described().id == f"mlflow-{RUN[:24]}"
    assert [len(find(folder)) for folder in (mlruns / "1", mlruns / "1" / RUN)] == [2, 1]


def test_an_import_is_repeated(imported: Callable[..., str], protocol_server: ProtocolServer, tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "0", RUN, status=1)
    write_metrics(folder, {"a": [(1, 1.0, 1)], "b": [(2, 2.0, 1)]})
    imported("mlflow", tmp_path)
    run = run_named(protocol_server, "first")
    assert run.events("end")[0]["status"] == "stopped"
    write_metrics(folder, {"a": [(1, 1.0, 1), (3, 3.0, 2)], "b": [(2, 2.0, 1), (4, 4.0, 2)]})
    imported("mlflow", tmp_path)
    assert (run.points("a"), run.points("b")) == ([(1, 1.0), (2, 3.0)], [(1, 2.0), (2, 4.0)])
    run_folder(tmp_path / "0", RUN)  # it has ended
    imported("mlflow", tmp_path)
    assert [run.events("end", session)[0]["status"] for session in run.sessions] == ["stopped", "stopped", "finished"]
    before = {session: bytes(held) for session, held in run.sessions.items()}
    assert "nothing is new" in imported("mlflow", tmp_path)
    assert before == run.sessions


def test_lines_that_cannot_be_read(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, RUN)
    write(
        folder, "metrics/a", "1 0.5 1\nnonsense\n2 x 3\n3 0.25\n4 1.0 -2\n5 0.125 7\n9999999999999999999 1 8\n6 1.0 1"
    )
    points, left_out = points_of(find(folder)[0])
    assert points == {"a": [(0, 0.25), (1, 0.5), (7, 0.125)]}
    assert left_out == "3 lines that are not as MLflow writes them, 1 values at negative steps"


def test_what_is_no_run_is_told(imported: Callable[..., str], tmp_path: Path) -> None:
    said = imported("mlflow", tmp_path, status=1)
    assert "holds no runs of MLflow (mlruns/*/*/meta.yaml, mlflow.db)" in said
    for text in (b"", b"no database at all, but a text that is longer than the header of one" * 9):
        (tmp_path / "mlflow.db").write_bytes(text)
        with pytest.raises(Unusable, match=r"mlflow\.db is not as MLflow writes it"):
            find(tmp_path)
    assert "is not as MLflow writes it" in imported("mlflow", tmp_path / "mlflow.db", status=1)


def test_scalars_of_yaml() -> None:
    # As PyYAML's safe_dump writes them, with allow_unicode=True.
    text = (
        "a: 'it''s: long\n\n  two'\nb: \"tab\\t\\\"x\\\" \\xE9 \\\n  \\ end\"\nc: plain and\n  on\nd: null\ne: ''\n"
        "artifact_uri: file:///a:b\nf: é 🙂\n"
    )
    assert read_meta(text) == {
        "a": "it's: long\ntwo", "b": 'tab\t"x" é  end', "c": "plain and on", "d": "", "e": "",
        "artifact_uri": "file:///a:b", "f": "é 🙂",
    }  # fmt: skip
