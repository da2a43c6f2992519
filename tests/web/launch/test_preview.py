"""The preview accepts what a launch accepts, and refuses what it refuses, in the same fields."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

LAUNCH = {"dataset": "shapes100", "preset": "baseline-cnn"}


@pytest.mark.parametrize(
    ("field", "text", "draw"),
    [
        ("optimizer.momentum", "0.9, 9", None),  # the second value is out of bounds
        ("model.name", "cnn", "0"),
        ("optimizer.lr", "1e-3, 20", "1"),  # a random search may choose the second
        ("optimizer.lr", "1..50", "1"),
        ("epochs", "1, 2", "1.000"),
        ("epochs", "1, 2", "many"),
        ("augment.mixup", "0,2", None),
        ("optimizer.weight_decay", "0,1", None),
        ("schedule.warmup_epochs", "0,5", None),
        ("budget.minutes", "1,5", None),
        ("optimizer.clip_norm", "1,5", None),
        ("epochs", "1.000", None),
        ("epochs", "1.000..2.000", "2"),
        ("model.name", "nobody:Net", None),
        ("model.weights", "/etc/passwd", None),
    ],
)
def test_a_preview_refuses_what_a_launch_refuses(api: httpx.Client, field: str, text: str, draw: str | None) -> None:
    typed = {field: text, "seed": "1, 2"}
    asked = {"draw": draw} if draw else {}
    preview = api.get("/api/preview", params={**LAUNCH, "typed": json.dumps(typed), **asked})
    launch = api.post("/runs", data={**LAUNCH, **typed, **asked})
    assert (preview.status_code, launch.status_code) == (422, 422)
    assert api.get("/api/runs").json()["items"] == []


def test_a_preview_counts_the_runs_that_a_launch_queues(api: httpx.Client) -> None:
    typed = {"augment.mixup": "0, 2", "optimizer.lr": "1e-4,3e-4", "max_steps": "1"}
    preview = api.get("/api/preview", params={**LAUNCH, "typed": json.dumps(typed)})
    assert preview.json()["runs"] == 4
    assert api.post("/runs", data={**LAUNCH, **typed}).status_code == 303
    queued = api.get("/api/runs").json()["items"]
    assert sorted((run["spec"]["augment"]["mixup"], run["spec"]["optimizer"]["lr"]) for run in queued) == [
        (mixup, lr) for mixup in (0.0, 2.0) for lr in (1e-4, 3e-4)
    ]
    for run in queued:
        api.post(f"/api/runs/{run['id']}/stop")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/runs", {**LAUNCH, "overrides": {"epochs": "1.000"}}),
        ("/api/runs", {**LAUNCH, "overrides": {"augment.mixup": "0,2"}}),
        ("/api/runs", {**LAUNCH, "priority": "1.000"}),
        ("/api/runs/variants", {**LAUNCH, "vary": {"epochs": ["1.000"]}}),
        ("/api/runs/variants", {**LAUNCH, "vary": {"epochs": [1, 2]}, "draw": "1.000"}),
    ],
)
def test_texts_in_a_request_are_not_read_as_other_numbers(api: httpx.Client, path: str, body: dict[str, Any]) -> None:
    answer = api.post(path, json=body)
    assert answer.status_code == 422
    assert "can be read in two ways" in answer.json()["error"]["message"]


def test_a_cross_validation_is_launched_as_one_group(api: httpx.Client) -> None:
    typed = {"val_folds": "3", "max_steps": "1"}
    preview = api.get("/api/preview", params={**LAUNCH, "typed": json.dumps(typed)}).json()
    assert preview["runs"] == 3
    assert preview["validation"].startswith("fold 1 of 3, ")
    launched = api.post("/runs", data={**LAUNCH, **typed})
    assert launched.status_code == 303
    page = api.get(launched.headers["location"]).text
    assert "Cross-validation: 3 folds" in page
    assert "no fold has finished yet" in page
    assert "standard deviation over the folds" in page
    queued = api.get("/api/runs", params={"status": "queued"}).json()["items"]
    assert sorted(run["spec"]["val_fold"] for run in queued) == [1, 2, 3]
    (found,) = api.get("/api/results/cross-validation", params={"group": queued[0]["group"]}).json()
    assert (found["folds"], found["finished"], len(found["runs"])) == (3, 0, 3)
    assert api.get("/api/results/cross-validation", params={"group": "none"}).json() == []

    made = api.post("/api/runs/variants", json={**LAUNCH, "folds": 2, "vary": {"seed": [0, 1]}}).json()
    assert [(run["spec"]["seed"], run["spec"]["val_fold"]) for run in made["runs"]] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert len(api.get("/api/results/cross-validation", params={"group": made["group"]}).json()) == 2
    assert api.post("/api/runs/variants", json=LAUNCH).status_code == 422
    for run in [*queued, *made["runs"]]:
        api.post(f"/api/runs/{run['id']}/stop")
