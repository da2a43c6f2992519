"""A search from the request to the test of its best trial, and what it refuses."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from app.commands.reindex import reindex
from tests.conftest import NARROW, Server, wait_for
from tests.databases import delete_database
from tests.web.errors import assert_error
from trainer.spec.preset import build_spec

SMALL: dict[str, Any] = {**NARROW, "epochs": 3, "batch_size": 400, "val_fraction": 0.1, "track_gradients": False}
LR = {"optimizer.lr": {"low": 1e-4, "high": 0.3, "log": True}}


def search_for(client: httpx.Client, **more: Any) -> dict[str, Any]:
    body = {"dataset": "shapes100", "preset": "baseline-cnn", "overrides": SMALL, "space": LR, "trials": 6, **more}
    answer = client.post("/api/searches", json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/api/searches/{found['id']}"
    return found


def ended(client: httpx.Client, search_id: str, seconds: float = 240) -> dict[str, Any]:
    def there() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get(f"/api/searches/{search_id}").json()
        assert found["status"] != "failed", found["error"]
        return found if found["status"] == "finished" else None

    return wait_for(there, seconds, "the end of the search")


def test_a_search_halves_its_trials_and_tests_the_best_alone(server: Server) -> None:
    server.start("web", "worker")
    with server.client() as client:
        began = search_for(client, trials=4)
        found = ended(client, began["id"])
        trials = found["trials"]
        assert [trial["number"] for trial in trials] == list(range(4))
        own = build_spec("shapes100", "baseline-cnn").optimizer.lr
        assert trials[0]["params"] == {"optimizer.lr": own}
        assert {trial["state"] for trial in trials} == {"paused", "complete"}
        assert sum(trial["rung"] >= 1 for trial in trials) == 4
        assert 1 <= sum(trial["rung"] == 2 for trial in trials) < 4  # a third, and those that were the best meanwhile
        complete = [trial for trial in trials if trial["state"] == "complete"]
        assert found["winner"] == found["best"]["run"] == max(complete, key=lambda trial: trial["value"])["run"]
        for trial in trials:
            run = client.get(f"/api/runs/{trial['run']}").json()
            is_winner = trial["run"] == found["winner"]
            assert run["status"] == ("finished" if is_winner else "stopped")
            assert ("test/acc" in run["summary"]) == is_winner
            assert run["spec"]["optimizer"]["lr"] == trial["params"]["optimizer.lr"]
            steps = server.series(trial["run"], "val/acc")["val/acc"]["step"]
            assert steps == sorted(set(steps))  # no epoch was trained twice
        assert 0 < found["device_minutes"] < 5
        assert set(found["importance"]) == {"optimizer.lr"}
        assert_error(client.post(f"/api/searches/{began['id']}/stop"), 409)
        assert_error(client.post(f"/api/searches/{began['id']}/resume"), 409)
        more = client.post(f"/api/searches/{began['id']}/resume", json={"trials": 1})
        assert more.json()["status"] == "running"
        found = ended(client, began["id"])
        assert len(found["trials"]) == 5
    server.stop("worker")
    server.stop("web")
    delete_database(server.settings)
    indexed = list(reindex(server.settings))
    assert all(item.status is not None for item in indexed)
    server.start("web")
    with server.client() as client:
        again = client.get(f"/api/searches/{began['id']}").json()
    assert again == found


def test_what_cannot_be_searched_is_refused_with_its_field(api: httpx.Client) -> None:
    def refused(status: int = 422, **more: Any) -> str:
        body = {"dataset": "shapes100", "preset": "baseline-cnn", "space": LR, "trials": 3, **more}
        answer = api.post("/api/searches", json=body)
        assert_error(answer, status)
        return answer.text

    assert "space.optimizer.rate" in refused(space={"optimizer.rate": {"low": 1, "high": 2}})
    assert "space.optimizer.lr" in refused(space={"optimizer.lr": {"low": 1e-3, "high": 500}})
    assert "space.batch_size" in refused(space={"batch_size": {"choices": [64, 0]}})
    assert "space.model.name" in refused(space={"model.name": {"choices": ["cnn", "nonesuch"]}})
    assert "low must be less than high" in refused(space={"optimizer.lr": {"low": 1, "high": 1}})
    assert "test split" in refused(objective="test/acc")
    assert "a grid needs choices or a step" in refused(sampler="grid")
    assert "cmaes needs ranges" in refused(sampler="cmaes")
    assert "a time budget has no rungs" in refused(preset="quick")
    assert "nothing" in refused(space={}) or "at least 1" in refused(space={})
    assert_error(api.get("/api/searches/none"), 404)
    assert_error(api.get("/api/searches/..%2Fruns"), 404)
    assert api.get("/api/searches").json() == []


@pytest.mark.parametrize(
    "sampler", ["grid", pytest.param("random", marks=pytest.mark.long), pytest.param("cmaes", marks=pytest.mark.long)]
)
def test_other_samplers_end_too(server: Server, sampler: str) -> None:
    spaces: dict[str, dict[str, Any]] = {
        "random": {"optimizer.name": {"choices": ["sgd", "adam"]}, **LR},
        "grid": {"optimizer.name": {"choices": ["sgd", "adam"]}, "batch_size": {"choices": [400, 800]}},
        "cmaes": {"optimizer.momentum": {"low": 0, "high": 0.9}, **LR},
    }
    server.start("web", "worker")
    with server.client() as client:
        overrides = {**SMALL, "epochs": 1}
        body = {"overrides": overrides, "sampler": sampler, "pruner": "none", "space": spaces[sampler], "trials": 5}
        found = ended(client, search_for(client, **body)["id"])
    tried = [trial["params"] for trial in found["trials"]]
    assert len(tried) == (4 if sampler == "grid" else 5)
    assert all(tried.count(params) == 1 for params in tried)
