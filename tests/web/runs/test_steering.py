"""Finishing early, extending with a schedule, branching, and what a request must not make the server execute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ENDLESS, NARROW, Server

SHORT = {**NARROW, "epochs": 2, "log_every": 4}


def test_a_run_is_wound_down_then_extended_with_a_schedule(server: Server) -> None:
    server.start("web", "worker")
    run_id = server.launch(overrides={**NARROW, **ENDLESS})
    server.wait_step(run_id, 60)
    with server.client() as client:
        answer = client.post(f"/api/runs/{run_id}/stop", json={"mode": "wind-down"})
        assert answer.status_code == 202
        assert answer.json()["status"] == "running"
        done = server.wait_status(run_id, "finished")
        assert done["total_steps"] == done["step"] < 400 * 56
        assert 0 <= done["summary"]["test/acc"] <= 1
        rates = server.series(run_id, "lr")["lr"]["value"]
        assert rates[-1] < rates[0] / 20

        asked: dict[str, str | float] = {"epochs": 1, "schedule": "cosine", "lr": 5e-4}
        shown = client.get(f"/api/runs/{run_id}/extension", params=asked).json()
        assert shown["total_steps"] == done["step"] + 56
        body = {"extend_epochs": 1, "schedule": {"name": "cosine"}, "lr": 5e-4}
        assert client.post(f"/api/runs/{run_id}/resume", json=body).status_code == 202
        more = server.wait_status(run_id, "finished")
        assert more["step"] == shown["total_steps"]
        # The learning rates that the preview showed are those of the training.
        lr = server.series(run_id, "lr")["lr"]
        trained = dict(zip(lr["step"], lr["value"], strict=True))
        planned = dict(zip(shown["lr"]["step"], shown["lr"]["value"], strict=True))
        common = [step for step in planned if step + 1 in trained and step >= done["step"]]
        assert len(common) > 10
        assert all(trained[step + 1] == pytest.approx(planned[step]) for step in common)


def test_a_branch_begins_with_its_parents_weights(server: Server) -> None:
    server.start("web", "worker")
    parent = server.launch(overrides=SHORT)
    done = server.wait_status(parent, "finished")
    with server.client() as client:
        body = {"from_step": done["step"], "overrides": {"optimizer.lr": 1e-4, "label_smoothing": 0.1}}
        branch = client.post(f"/api/runs/{parent}/clone", json=body).json()
        assert (branch["parent"], branch["parent_step"]) == (parent, done["step"])
        # Its weights have seen images of any fold.
        folds = {"from_step": done["step"], "overrides": {"val_folds": 2, "val_fold": 1}}
        assert client.post(f"/api/runs/{parent}/clone", json=folds).status_code == 422
        server.wait_status(branch["id"], "finished")
    first, last = (server.series(run, "train/loss")["train/loss"]["value"] for run in (branch["id"], parent))
    assert first[0] < last[0] - 0.2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"mode": "later"}, "mode"),
        ({"mode": None}, "mode"),
        ({"soon": True}, "soon"),
    ],
)
def test_a_stop_of_another_kind_is_refused(api: httpx.Client, body: dict[str, Any], field: str) -> None:
    answer = api.post("/api/runs/none/stop", json=body)
    assert answer.status_code == 422
    assert field in str(answer.json()["error"]["detail"])


@pytest.mark.parametrize(
    "body",
    [
        {"extend_epochs": 1, "schedule": {"name": "sawtooth"}},
        {"extend_epochs": 1, "schedule": {"name": "multi_step", "milestones": [0.5, 0.2]}},
        {"extend_epochs": 1, "lr": 0},
        {"lr": 0.1},
        {"schedule": {"name": "cosine"}},
    ],
)
def test_an_extension_that_cannot_be_is_refused(api: httpx.Client, body: dict[str, Any]) -> None:
    assert api.post("/api/runs/none/resume", json=body).status_code == 422


def test_winding_down_what_does_not_run_is_a_conflict(api: httpx.Client) -> None:
    run = api.post("/api/runs", json={"dataset": "shapes100", "preset": "baseline-cnn"}).json()
    answer = api.post(f"/api/runs/{run['id']}/stop", json={"mode": "wind-down"})
    assert answer.status_code == 409


@pytest.mark.parametrize(
    ("overrides", "fields"),
    [
        ({"model.name": "os:system"}, {"model.name"}),
        ({"model.name": "torchvision:resnet18", "model.weights": "/etc/passwd"}, {"model.weights"}),
        ({"model.name": "torchvision:resnet18", "model.weights": "../trackside.db"}, {"model.weights"}),
        ({"model.name": "torchvision:resnet18", "model.weights": "none-such.pth"}, {"model.weights"}),
        ({"augment.mixup": 0.2, "loss": "mse"}, {"augment.mixup", "loss"}),
        ({"augment.cutout": 32}, {"augment.cutout"}),
        ({"model.name": "torchvision:vit_b_16"}, {"model.name", "model.input_size"}),
    ],
)
def test_what_may_not_or_cannot_be_is_refused_before_it_is_queued(
    api: httpx.Client, overrides: dict[str, Any], fields: set[str]
) -> None:
    body = {"dataset": "shapes100", "preset": "baseline-cnn", "overrides": overrides}
    answer = api.post("/api/runs", json=body)
    assert answer.status_code == 422
    assert {item["field"] for item in answer.json()["error"]["detail"]} == {f"overrides.{name}" for name in fields}


def test_weights_are_taken_from_the_homes_folder(web: Server, api: httpx.Client) -> None:
    folder = web.home / "weights"
    folder.mkdir(exist_ok=True)
    (folder / "mine.safetensors").write_bytes(b"")
    overrides = {"model.name": "torchvision:resnet18", "model.weights": "mine.safetensors"}
    run = api.post("/api/runs", json={"dataset": "shapes100", "preset": "transfer", "overrides": overrides}).json()
    assert Path(run["spec"]["model"]["weights"]) == (folder / "mine.safetensors").resolve()
