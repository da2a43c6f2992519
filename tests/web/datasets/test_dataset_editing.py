"""Datasets are renamed and deleted over HTTP, and every page of their runs goes on working."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.runs.runs import Runs
from app.storage.db import Database
from tests.conftest import Server, wait_for
from tests.finished_runs import finished_run
from tests.web.errors import assert_error
from trainer.data.sources.shapes import make_shapes100

HTML = {"Accept": "text/html"}


@pytest.fixture
def mine(web: Server, shapes: Path) -> Iterator[str]:
    """A dataset of the home's own."""
    folder = web.settings.datasets / "mine"
    shutil.copytree(shapes / "shapes100", folder)
    yield "mine"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def runs(web: Server) -> Iterator[Runs]:
    database = Database(web.settings.url)
    yield Runs(database, web.settings)
    database.close()


def assert_pages_work(api: httpx.Client, ids: list[str], dataset: str) -> None:
    tabs = ("curves", "checks", "errors", "log", "setup")
    pages = [f"/runs/{ids[0]}?tab={tab}" for tab in tabs]
    pages += [f"/models/{ids[0]}", f"/compare?runs={','.join(ids)}", f"/results?dataset={dataset}", "/", "/results"]
    pages += [f"/predict?model={ids[0]}", f"/runs/new?from={ids[0]}", "/datasets"]
    for path in pages:
        answer = api.get(path, headers=HTML)
        assert answer.status_code == 200, (path, answer.text[:500])
    for path in (f"/api/runs/{ids[0]}", f"/api/results?dataset={dataset}", f"/api/compare?runs={','.join(ids)}"):
        assert api.get(path).status_code == 200, path


def test_runs_outlive_their_dataset(api: httpx.Client, web: Server, runs: Runs, mine: str) -> None:
    ids = [finished_run(runs, [0.1, 0.3], dataset=mine, wrong=[1, 199]) for _ in range(2)]
    run = f"/api/runs/{ids[0]}"
    assert_pages_work(api, ids, mine)
    assert api.get(f"{run}/mistakes.csv").status_code == 200
    assert f'href="/datasets/{mine}"' in api.get(f"/models/{ids[0]}", headers=HTML).text

    assert api.delete(f"/api/datasets/{mine}").status_code == 204
    assert not (web.settings.datasets / mine).exists()
    assert_error(api.delete(f"/api/datasets/{mine}"), 404)
    assert_error(api.get(f"/api/datasets/{mine}"), 404)
    assert_error(api.get(f"/api/datasets/{mine}/images/train/0.png"), 404)
    for replaced in (False, True):
        if replaced:  # by fewer images, whose labels would be taken for those of the runs
            folder = make_shapes100(web.settings.datasets, mine, train_per_class=4, test_per_class=1).name
            assert folder == mine
        assert_pages_work(api, ids, mine)
        assert "was deleted or replaced" in api.get(f"/runs/{ids[0]}?tab=errors", headers=HTML).text
        assert f'href="/datasets/{mine}"' not in api.get(f"/models/{ids[0]}", headers=HTML).text
        assert "data-test-image" not in api.get(f"/predict?model={ids[0]}", headers=HTML).text
        assert_error(api.get(f"{run}/mistakes.csv"), 404)
        assert_error(api.post(f"{run}/resume", json={"extend_epochs": 1}), 409)
    for run_id in ids:
        assert api.delete(f"/api/runs/{run_id}").status_code == 204


def test_a_dataset_is_renamed_with_its_runs(api: httpx.Client, web: Server, runs: Runs, mine: str) -> None:
    ids = [finished_run(runs, [0.1, 0.3], dataset=mine, wrong=[1, 199]) for _ in range(2)]
    before = api.get(f"/api/datasets/{mine}").json()
    answer = api.patch(f"/api/datasets/{mine}", json={"name": "ours"})
    assert (answer.status_code, answer.json()) == (200, before | {"name": "ours"})
    assert api.get("/api/datasets/ours").json() == answer.json()
    assert_error(api.get(f"/api/datasets/{mine}"), 404)
    assert api.get(f"/api/runs/{ids[0]}").json()["dataset"] == "ours"
    assert_pages_work(api, ids, "ours")
    assert api.get(f"/api/runs/{ids[0]}/mistakes.csv").status_code == 200
    assert api.post(f"/api/runs/{ids[0]}/clone", json={}).json()["dataset"] == "ours"
    refused = api.patch("/api/datasets/ours", json={"name": mine})
    assert_error(refused, 409)
    assert "has not ended" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 422, "name"),
        ({"name": "../x"}, 422, "name"),
        ({"name": ""}, 422, "name"),
        ({"name": 5}, 422, "name"),
        ({"name": "x", "size": 32}, 422, "size"),
        ({"name": "shapes100"}, 409, None),
    ],
)
def test_names_that_are_refused(
    api: httpx.Client, mine: str, body: dict[str, object], status: int, field: str | None
) -> None:
    assert_error(api.patch(f"/api/datasets/{mine}", json=body), status, field)
    assert api.get(f"/api/datasets/{mine}").status_code == 200


def test_a_dataset_in_use_is_not_deleted(api: httpx.Client, mine: str) -> None:
    body = {"dataset": mine, "preset": "baseline-cnn", "name": "first in line"}
    run = api.post("/api/runs", json=body).json()["id"]
    refused = api.delete(f"/api/datasets/{mine}")
    assert_error(refused, 409)
    assert "first in line" in refused.json()["error"]["message"]
    page = api.get(f"/datasets/{mine}", headers=HTML).text
    assert "first in line" in page
    api.post(f"/api/runs/{run}/stop").raise_for_status()
    assert api.delete(f"/api/datasets/{mine}").status_code == 204


def test_other_sites_cannot_change_a_dataset(api: httpx.Client, mine: str) -> None:
    other = {"Sec-Fetch-Site": "cross-site", "Origin": "https://elsewhere.test"}
    assert api.delete(f"/api/datasets/{mine}", headers=other).status_code == 403
    assert api.patch(f"/api/datasets/{mine}", json={"name": "x"}, headers=other).status_code == 403
    assert api.get(f"/api/datasets/{mine}").status_code == 200


def test_statistics_that_fail_are_an_error(api: httpx.Client, web: Server, mine: str) -> None:
    (web.settings.datasets / mine / "train.files.txt").unlink()
    record = web.settings.datasets / mine / "dataset.json"
    record.write_text(record.read_text().replace('"train.images.npy": "', '"train.images.npy": "0'))  # another content
    path = f"/api/datasets/{mine}/statistics"
    assert api.post(path).status_code == 202
    wait_for(lambda: api.get(path).status_code != 202, 60, "the end of the computation")
    answer = api.get(path)
    assert_error(answer, 503)
    assert int(answer.headers["retry-after"]) >= 1
    assert "could not be measured" in api.get(f"/datasets/{mine}", headers=HTML).text
