"""Many runs from one form: every combination, or so many drawn."""

from __future__ import annotations

import math
import random

import pytest
from pydantic import ValidationError

from app.runs.variants import Between, checked_vary, combinations
from app.web.launch.form import split_variants
from trainer.spec.preset import SpecError


def test_every_combination_once() -> None:
    found = combinations({"optimizer.lr": [1e-4, 3e-4, 1e-4], "seed": [0, 1]}, None, random.Random(0))
    assert found == [{"optimizer.lr": lr, "seed": seed} for lr in (1e-4, 3e-4) for seed in (0, 1)]


def test_rates_are_drawn_evenly_in_their_logarithm() -> None:
    found = combinations({"optimizer.lr": Between(low=1e-5, high=1e-1)}, 100, random.Random(1))
    logs = [math.log10(one["optimizer.lr"]) for one in found]
    assert all(-5 <= value <= -1 for value in logs)
    assert 30 < sum(value < -3 for value in logs) < 70
    shares = [one["dropout"] for one in combinations({"dropout": Between(low=0.1, high=0.5)}, 30, random.Random(1))]
    assert 0.25 < sum(shares) / len(shares) < 0.35
    whole = [one["epochs"] for one in combinations({"epochs": Between(low=2, high=8)}, 5, random.Random(1))]
    assert all(isinstance(value, int) and 2 <= value <= 8 for value in whole)


@pytest.mark.parametrize("field", ["augment.mixup", "model.dropout", "optimizer.momentum", "no.such.field"])
def test_a_range_between_integers_draws_other_numbers_too(field: str) -> None:
    found = [one[field] for one in combinations({field: Between(low=0, high=1)}, 20, random.Random(1))]
    assert len({value for value in found if 0 < value < 1}) > 10


def test_settings_that_take_integers_are_drawn_as_integers() -> None:
    for field, low, high in (("epochs", 1.5, 4.2), ("seed", 0, 9), ("max_steps", 100, 900)):
        found = [one[field] for one in combinations({field: Between(low=low, high=high)}, 3, random.Random(1))]
        assert all(isinstance(value, int) and low <= value <= high for value in found)


def test_draws_differ_and_there_are_no_more_than_there_can_be() -> None:
    found = combinations({"seed": [0, 1, 2], "batch_size": [32, 64]}, 50, random.Random(2))
    assert len(found) == len({tuple(one.items()) for one in found}) == 6


def test_what_cannot_be_is_named() -> None:
    with pytest.raises(SpecError, match="number of random samples"):
        combinations({"optimizer.lr": Between(low=1e-4, high=1e-2)}, None, random.Random(0))
    with pytest.raises(SpecError, match="more than 100 runs"):
        combinations({"seed": list(range(11)), "batch_size": list(range(1, 11))}, None, random.Random(0))
    with pytest.raises(ValidationError, match="low must be less"):
        Between(low=1, high=1)


@pytest.mark.parametrize("field", ["seed", "optimizer.lr"])
@pytest.mark.parametrize(("low", "high"), [(-1e308, 1e308), (1.0, 1.7e308), (5e-324, 1e101)])
def test_bounds_that_numbers_cannot_be_drawn_between_are_named(field: str, low: float, high: float) -> None:
    with pytest.raises(SpecError) as caught:
        checked_vary({field: {"low": low, "high": high}})
    assert list(caught.value.fields) == [f"overrides.{field}"]
    widest = {field: Between(low=-1e18, high=1e18), "batch_size": Between(low=5e-324, high=1e18)}
    assert len(combinations(widest, 10, random.Random(1))) == 10


def test_texts_of_the_form_vary_where_they_hold_several_values() -> None:
    typed = {
        "optimizer.lr": "1e-4..1e-2", "seed": "0, 1,2", "model.widths": "8,16,16; 16,32,32", "epochs": "3",
        "augment.resolutions": "20, 24", "model.name": "cnn", "batch_size": "32,",
    }  # fmt: skip
    same, vary = split_variants(typed)
    assert same == {"epochs": "3", "augment.resolutions": "20, 24", "model.name": "cnn"}
    assert vary == {
        "optimizer.lr": {"low": 1e-4, "high": 1e-2},
        "seed": [0, 1, 2],
        "model.widths": [[8, 16, 16], [16, 32, 32]],
        "batch_size": [32],
    }


def test_the_folds_of_a_cross_validation_vary_unless_one_is_chosen() -> None:
    same, vary = split_variants({"val_folds": "3", "epochs": "2"})
    assert (same, vary) == ({"val_folds": "3", "epochs": "2"}, {"val_fold": [1, 2, 3]})
    assert split_variants({"val_folds": "3", "val_fold": "2"})[1] == {}
    assert split_variants({"val_folds": "3", "val_fold": "1, 3"})[1] == {"val_fold": [1, 3]}
    assert split_variants({"val_folds": "0"})[1] == split_variants({"val_folds": "21"})[1] == {}
    # Of a random search, each sample is trained once per fold.
    searched: dict[str, list[int] | Between] = {"val_fold": [1, 2, 3], "optimizer.lr": Between(low=1e-4, high=1e-2)}
    found = combinations(searched, 2, random.Random(0))
    assert [one["val_fold"] for one in found] == [1, 2, 3, 1, 2, 3]
    assert len({one["optimizer.lr"] for one in found}) == 2
    with pytest.raises(SpecError, match="more than 100 runs"):
        combinations(searched, 40, random.Random(0))
