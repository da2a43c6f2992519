"""How many steps a run takes, and the rate of each."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.preset import build_spec
from trainer.schedule import Plan, is_logged, learning_rate, log_interval, make_plan, split_sizes
from trainer.spec import TrainSpec

SIZES = st.integers(1, 100_000)


def spec_of(**overrides: Any) -> TrainSpec:
    return build_spec("d", "baseline-cnn", {name.replace("__", "."): value for name, value in overrides.items()})


def rates(spec: TrainSpec, plan: Plan) -> list[float]:
    return [learning_rate(spec, plan, step) for step in range(plan.total_steps)]


def test_a_plan_counts_whole_batches() -> None:
    spec = spec_of(epochs=3)
    plan = make_plan(spec, 45_000)
    assert (plan.steps_per_epoch, plan.total_steps) == (703, 2109)
    assert make_plan(spec, 45_000, extend_epochs=2).total_steps == 5 * 703
    short = spec_of(max_steps=1000)
    assert make_plan(short, 45_000).epochs == 2
    assert make_plan(short, 45_000, extend_epochs=1).total_steps == 1703
    assert make_plan(spec, 10).batch_size == 10
    assert plan.ends_epoch(703)
    assert not plan.ends_epoch(704)


@given(SIZES, st.integers(1, 65_536), st.integers(1, 1000), st.none() | st.integers(1, 10**6), st.integers(0, 50))
def test_a_plan_is_always_whole(count: int, batch: int, epochs: int, most: int | None, more: int) -> None:
    spec = spec_of(batch_size=batch, epochs=epochs, max_steps=most)
    plan = make_plan(spec, count, more)
    assert 1 <= plan.batch_size <= min(batch, count)
    assert plan.batch_size * plan.steps_per_epoch <= count < plan.batch_size * (plan.steps_per_epoch + 1)
    assert 1 <= plan.total_steps <= (epochs + more) * plan.steps_per_epoch
    assert (plan.epochs - 1) * plan.steps_per_epoch < plan.total_steps <= plan.epochs * plan.steps_per_epoch
    assert plan.ends_epoch(plan.total_steps)
    assert plan.total_steps - make_plan(spec, count).total_steps == more * plan.steps_per_epoch


@given(SIZES, st.floats(0, 0.5))
def test_the_splits_share_the_images(count: int, fraction: float) -> None:
    trained, held = split_sizes(spec_of(val_fraction=fraction), count)
    assert trained + held == count
    assert abs(held - count * fraction) <= 0.5
    assert trained >= 0 <= held


def test_cosine_warms_up_and_anneals_to_zero() -> None:
    spec = spec_of(epochs=10, schedule__name="cosine", schedule__warmup_epochs=1)
    curve = rates(spec, make_plan(spec, 6400))
    assert curve[0] < curve[50] < curve[99] < curve[100] == pytest.approx(1e-3)
    assert all(later <= earlier for earlier, later in pairwise(curve[100:]))
    assert curve[-1] < 1e-6


@given(st.sampled_from(["constant", "cosine"]), st.floats(0, 20), st.integers(1, 8), st.integers(1, 30))
def test_a_rate_is_never_above_what_was_set_nor_zero_at_the_start(
    name: str, warmup: float, epochs: int, steps: int
) -> None:
    spec = spec_of(epochs=epochs, schedule__name=name, schedule__warmup_epochs=warmup)
    curve = rates(spec, make_plan(spec, 64 * steps))
    assert all(0 <= rate <= 1e-3 for rate in curve)
    assert curve[0] > 0
    if name == "constant" and warmup == 0:
        assert set(curve) == {1e-3}


def test_one_batch_again_and_again_has_epochs_of_one_step() -> None:
    plan = make_plan(build_spec("d", "baseline-mlp"), 45_000)
    assert (plan.steps_per_epoch, plan.total_steps) == (1, 1000)


def test_the_first_steps_are_all_logged() -> None:
    interval = log_interval(spec_of(), make_plan(spec_of(), 45_000))
    assert interval == 4
    assert [step for step in range(1, 25) if is_logged(step, interval)] == [*range(1, 17), 20, 24]
    assert log_interval(spec_of(log_every=7), make_plan(spec_of(), 45_000)) == 7
    assert log_interval(spec_of(), make_plan(spec_of(), 100)) == 1
