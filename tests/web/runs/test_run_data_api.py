"""A run's outputs over HTTP: series, log lines, checkpoints and their files."""

from __future__ import annotations

import csv
import hashlib
import io
from typing import Any

import httpx
import numpy as np
import pytest
from sqlmodel import select

from app.metrics.points import Points
from app.metrics.writer import SeriesWriter
from app.storage.db import Database
from app.storage.tables import Checkpoint, LogLine, Run, Status
from tests.conftest import Server
from tests.web.errors import assert_error

STEPS = 3000
WEIGHTS = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def run(web: Server) -> str:
    """A run with two series, a spike and a NaN in one of them, log lines and checkpoints at steps 5 and 9."""
    run_id = web.launch()
    steps = np.arange(1, STEPS + 1)
    values = 1 / steps
    values[1500], values[2000], values[2001] = 50.0, np.nan, np.inf
    folder = web.settings.runs / run_id / "checkpoints"
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    database = Database(web.settings.url)
    with database.write() as session:
        key = session.exec(select(Run.key).where(Run.id == run_id)).one() or 0
        writer = SeriesWriter(session, key)
        writer.add("train/loss", Points(steps, values, steps / 10))
        writer.add("val/loss", Points(steps[:4], values[:4], steps[:4] / 10))
        session.add_all(LogLine(run=key, attempt=1, time=1.5, line=f"line {number}") for number in range(5))
        for step, best in ((5, True), (7, False), (9, False)):
            session.add(
                Checkpoint(
                    run=key, step=step, epoch=1, sha256=digest, size=len(WEIGHTS), metrics={"val/acc": 0.5}, best=best
                )
            )
            if step != 7:  # pruned by the trainer; the database still lists it
                (folder / f"{step:08d}.safetensors").write_bytes(WEIGHTS)
    database.close()
    return run_id


def test_every_series_comes_down_sampled(api: httpx.Client, run: str) -> None:
    series = api.get(f"/api/runs/{run}/metrics").json()["series"]
    assert set(series) == {"train/loss", "val/loss"}
    loss = series["train/loss"]
    assert set(loss) == {"step", "value", "time", "total", "nonfinite"}
    assert loss["total"] == STEPS
    assert len(loss["step"]) == len(loss["value"]) == len(loss["time"]) <= 1000 + 10
    assert loss["nonfinite"] == [{"step": 2001, "kind": "NaN"}, {"step": 2002, "kind": "Infinity"}]
    assert 50.0 in loss["value"]
    assert loss["step"][-1] == STEPS
    assert series["val/loss"]["step"] == [1, 2, 3, 4]


def test_the_series_that_were_asked_for(api: httpx.Client, run: str) -> None:
    def ask(**params: Any) -> dict[str, Any]:
        body: dict[str, Any] = api.get(f"/api/runs/{run}/metrics", params=params).json()["series"]
        return body

    assert set(ask(series="val/loss,none")) == {"val/loss"}
    assert set(ask(series="")) == {"train/loss", "val/loss"}
    assert ask(series="train/loss", points=100_000)["train/loss"]["step"] == list(range(1, STEPS + 1))
    assert ask(series="train/loss", after_step=2990)["train/loss"]["step"] == list(range(2991, STEPS + 1))
    assert ask(after_step="")["val/loss"]["step"] == [1, 2, 3, 4]
    assert len(ask(series="train/loss", points=1)["train/loss"]["step"]) <= 5


def test_an_average_is_of_all_points_and_leaves_outliers_out(api: httpx.Client, run: str) -> None:
    def ask(points: int) -> dict[str, Any]:
        asked: dict[str, Any] = {"series": "train/loss", "points": points, "smoothing": 0.9}
        found: dict[str, Any] = api.get(f"/api/runs/{run}/metrics", params=asked).json()["series"]["train/loss"]
        return found

    every, few = ask(100_000), ask(100)
    average = dict(zip(every["step"], every["smoothed"], strict=True))
    assert few["smoothed"] == [average[step] for step in few["step"]]
    assert average[1501] is None  # the spike
    assert every["outliers_above"] < 50
    assert_error(api.get(f"/api/runs/{run}/metrics", params={"smoothing": 1}), 422)


def test_every_point_as_csv(api: httpx.Client, run: str) -> None:
    answer = api.get(f"/api/runs/{run}/metrics.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == STEPS + 4
    assert rows[0] == {"series": "train/loss", "step": "1", "value": "1.0", "time": "0.1"}
    assert [row["value"] for row in rows[2000:2002]] == ["nan", "inf"]
    one = api.get(f"/api/runs/{run}/metrics.csv", params={"series": "val/loss,none"}).text
    assert [row["series"] for row in csv.DictReader(io.StringIO(one))] == ["val/loss"] * 4


def test_log_lines_after_the_last_one_seen(api: httpx.Client, run: str) -> None:
    lines = api.get(f"/api/runs/{run}/log").json()
    assert [line["line"] for line in lines] == [f"line {number}" for number in range(5)]
    rest = api.get(f"/api/runs/{run}/log", params={"after": lines[2]["key"]}).json()
    assert rest == lines[3:]
    assert api.get(f"/api/runs/{run}/log", params={"after": lines[-1]["key"]}).json() == []
    assert api.get(f"/api/runs/{run}/log", params={"after": -1}).json() == lines
    assert api.get(f"/api/runs/{run}/log", params={"after": -2}).status_code == 422
    whole = api.get(f"/api/runs/{run}/log.txt")
    assert whole.headers["content-type"].startswith("text/plain")
    assert [line.split(" ", 1)[1] for line in whole.text.splitlines()] == [f"line {number}" for number in range(5)]


def test_checkpoints_that_are_there(api: httpx.Client, run: str) -> None:
    listed = api.get(f"/api/runs/{run}/checkpoints").json()
    assert [(item["step"], item["best"], item["last"]) for item in listed] == [(5, True, False), (9, False, True)]
    assert listed[0]["sha256"] == hashlib.sha256(WEIGHTS).hexdigest()
    assert listed[0]["size"] == len(WEIGHTS)
    assert listed[0]["metrics"] == {"val/acc": 0.5}
    assert_error(api.get(f"/api/runs/{run}/checkpoints/7/file"), 404)
    assert_error(api.get(f"/api/runs/{run}/checkpoints/-5/file"), 404)


@pytest.mark.parametrize(
    ("ranges", "start", "stop"),
    [
        ("bytes=0-", 0, None),
        ("bytes=100-199", 100, 200),
        ("bytes=-10", len(WEIGHTS) - 10, None),
        (f"bytes=5-{10**17}", 5, None),
        (f"bytes=-{10**17}", 0, None),
        ("bytes=0-9,5-19", 0, 20),
    ],
)
def test_a_checkpoint_in_part(api: httpx.Client, run: str, ranges: str, start: int, stop: int | None) -> None:
    answer = api.get(f"/api/runs/{run}/checkpoints/5/file", headers={"range": ranges})
    part = WEIGHTS[start:stop]
    assert answer.status_code == 206
    assert answer.content == part
    assert answer.headers["content-range"] == f"bytes {start}-{start + len(part) - 1}/{len(WEIGHTS)}"


def test_a_checkpoint_whole_and_in_several_parts(api: httpx.Client, run: str) -> None:
    path = f"/api/runs/{run}/checkpoints/5/file"
    whole = api.get(path)
    assert (whole.status_code, whole.content) == (200, WEIGHTS)
    assert whole.headers["accept-ranges"] == "bytes"
    parts = api.get(path, headers={"range": "bytes=0-1,10-11"})
    assert parts.status_code == 206
    assert parts.headers["content-type"].startswith("multipart/byteranges")
    changed = api.get(path, headers={"range": "bytes=99999-", "if-range": '"another"'})
    assert (changed.status_code, changed.content) == (200, WEIGHTS)


@pytest.mark.parametrize(
    ("ranges", "status"),
    [
        ("bytes=" + ",".join(f"{index}-{index}" for index in range(9)), 400),
        ("bytes=", 400),
        ("bytes=x", 400),
        ("bytes=-", 400),
        ("bytes=5", 400),
        ("bytes=9-5", 400),
        ("bytes=²-", 400),
        ("lines=0-1", 400),
        ("bytes=" + "9" * 3000 + "-", 416),
        (f"bytes={len(WEIGHTS)}-", 416),
    ],
)
def test_ranges_that_cannot_be_served(api: httpx.Client, run: str, ranges: str, status: int) -> None:
    headers = httpx.Headers({"range": ranges}, encoding="latin-1")
    for path in (f"/api/runs/{run}/checkpoints/5/file", "/static/favicon.svg"):
        answer = api.get(path, headers=headers)
        assert_error(answer, status)
        assert ("content-range" in answer.headers) == (status == 416)


def test_a_clone_with_the_weights_of_an_earlier_versions_run_holds_out_the_same_images(
    api: httpx.Client, web: Server, run: str
) -> None:
    database = Database(web.settings.url)
    with database.write() as session:
        row = session.exec(select(Run).where(Run.id == run)).one()
        dataset = {name: value for name, value in row.spec["dataset"].items() if name != "split_seed"}
        row.spec = {**row.spec, "dataset": dataset, "seed": 7}
    database.close()
    body = {"from_step": 5, "overrides": {"seed": 8}}
    branch = api.post(f"/api/runs/{run}/clone", json=body).json()
    again = api.post(f"/api/runs/{branch['id']}/clone", json={}).json()
    assert (branch["spec"]["seed"], branch["spec"]["dataset"]["split_seed"]) == (8, 7)
    assert again["spec"]["dataset"]["split_seed"] == "dataset"


def test_a_clone_starts_from_a_checkpoints_weights(api: httpx.Client, web: Server, run: str) -> None:
    clone = api.post(f"/api/runs/{run}/clone", json={"from_step": 5, "overrides": {"optimizer.lr": 1e-4}})
    assert clone.status_code == 201
    body = clone.json()
    assert clone.headers["location"] == f"/api/runs/{body['id']}"
    assert (body["parent"], body["parent_step"], body["status"]) == (run, 5, Status.QUEUED)
    assert (web.settings.runs / body["id"] / "initial.safetensors").read_bytes() == WEIGHTS
    for field, value in (("model.name", "mlp"), ("model.widths", [8]), ("target", "coarse")):
        refused = api.post(f"/api/runs/{run}/clone", json={"from_step": 5, "overrides": {field: value}})
        assert_error(refused, 422, f"overrides.{field}")
