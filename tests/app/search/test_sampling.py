"""The values of a search's trials."""

from __future__ import annotations

from typing import Any

import pytest

from app.search.requests import NewSearch
from app.search.sampling import next_params, own_params

SETTINGS: dict[str, Any] = {"optimizer.lr": 0.05, "batch_size": 128, "model.widths": [8, 16], "optimizer.name": "sgd"}
RATE = {"low": 1e-3, "high": 1.0, "log": True}


def search(**more: Any) -> NewSearch:
    return NewSearch.model_validate({"dataset": "shapes100", "preset": "quick", **more})


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ({"optimizer.lr": RATE}, {"optimizer.lr": 0.05}),
        (
            {"model.widths": {"choices": [[4, 4], [8, 16]]}, "batch_size": {"low": 64, "high": 256, "step": 64}},
            {"model.widths": [8, 16], "batch_size": 128},
        ),
        ({"optimizer.lr": {**RATE, "low": 0.1}}, None),
        ({"optimizer.lr": RATE, "optimizer.name": {"choices": ["adam", "adamw"]}}, None),
        ({"batch_size": {"low": 100, "high": 200, "step": 50}}, None),
        ({"optimizer.momentum": {"low": 0.0, "high": 0.9}}, None),
    ],
)
def test_the_preset_s_own_values_are_tried_first_if_they_are_possible(
    space: dict[str, Any], expected: dict[str, Any] | None
) -> None:
    assert own_params(search(space=space), SETTINGS) == expected


def test_samplers_that_do_not_learn_begin_with_their_own_values() -> None:
    assert own_params(search(space={"optimizer.lr": RATE}, sampler="random"), SETTINGS) is None


def test_the_same_trials_give_the_same_values() -> None:
    request = search(space={"optimizer.lr": RATE, "optimizer.name": {"choices": ["adam", "sgd"]}}, seed=3)
    first, again = next_params(request, [], 0), next_params(request, [], 0)
    assert first == again
    assert first is not None
    assert first != next_params(request, [], 1)
    assert next_params(request, [], 0, attempt=1) != first
