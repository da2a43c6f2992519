"""The number of steps of a run, and the learning rate of each."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.plan.schedule import (
    Plan,
    extended,
    finished_early,
    is_logged,
    learning_rate,
    log_interval,
    make_plan,
    replanned,
    resolution,
    resolutions,
    steps_of_size,
)
from trainer.spec.preset import build_spec
from trainer.spec.train_spec import TrainSpec

NAMES = st.sampled_from(["constant", "cosine", "linear", "one_cycle", "multi_step", "trapezoid", "range_test"])
SIZES = st.integers(1, 100_000)


def spec_of(**overrides: Any) -> TrainSpec:
    return build_spec("d", "baseline-cnn", {name.replace("__", "."): value for name, value in overrides.items()})


def rates(plan: Plan) -> list[float]:
    return [learning_rate(plan, step) for step in range(plan.total_steps)]


def test_a_plan_counts_whole_batches() -> None:
    spec = spec_of(epochs=3)
    plan = make_plan(spec, 45_000)
    assert (plan.steps_per_epoch, plan.total_steps) == (703, 2109)
    assert extended(plan, 2, spec.schedule, 1e-3).total_steps == 5 * 703
    short = spec_of(max_steps=1000)
    assert make_plan(short, 45_000).epochs == 2
    assert extended(make_plan(short, 45_000), 1, spec.schedule, 1e-3).total_steps == 1703
    assert make_plan(spec, 10).batch_size == 10
    assert plan.ends_epoch(703)
    assert not plan.ends_epoch(704)


@given(SIZES, st.integers(1, 65_536), st.integers(1, 1000), st.none() | st.integers(1, 10**6), st.integers(0, 50))
def test_a_plan_is_always_whole(count: int, batch: int, epochs: int, most: int | None, more: int) -> None:
    spec = spec_of(batch_size=batch, epochs=epochs, max_steps=most)
    plan = extended(make_plan(spec, count), more, spec.schedule, 1e-3)
    assert 1 <= plan.batch_size <= min(batch, count)
    assert plan.batch_size * plan.steps_per_epoch <= count < plan.batch_size * (plan.steps_per_epoch + 1)
    assert 1 <= plan.total_steps <= (epochs + more) * plan.steps_per_epoch
    assert (plan.epochs - 1) * plan.steps_per_epoch < plan.total_steps <= plan.epochs * plan.steps_per_epoch
    assert plan.ends_epoch(plan.total_steps)
    assert plan.total_steps - make_plan(spec, count).total_steps == more * plan.steps_per_epoch


def test_cosine_warms_up_and_anneals_to_zero() -> None:
    spec = spec_of(epochs=10, schedule__name="cosine", schedule__warmup_epochs=1)
    curve = rates(make_plan(spec, 6400))
    assert curve[0] < curve[50] < curve[99] < curve[100] == pytest.approx(1e-3)
    assert all(later <= earlier for earlier, later in pairwise(curve[100:]))
    assert curve[-1] < 1e-6


@given(
    NAMES,
    st.floats(0, 20),
    st.integers(1, 8),
    st.integers(1, 30),
)
def test_a_rate_is_never_above_what_was_set_nor_zero_at_the_start(
    name: str, warmup: float, epochs: int, steps: int
) -> None:
    spec = spec_of(epochs=epochs, schedule__name=name, schedule__warmup_epochs=warmup)
    curve = rates(make_plan(spec, 64 * steps))
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


def test_each_schedule_has_the_shape_of_its_name() -> None:
    def at(name: str, **more: Any) -> list[float]:
        spec = spec_of(epochs=10, optimizer__lr=1.0, schedule__name=name, **more)
        return rates(make_plan(spec, 6400))

    linear = at("linear")
    assert (linear[0], linear[500], linear[999]) == pytest.approx((1.0, 0.5, 0.001))
    cycle = at("one_cycle", schedule__peak=0.25)
    assert max(cycle) == cycle[250] == 1.0
    assert cycle[0] == pytest.approx(0.04)
    assert cycle[999] < 0.01
    steps = at("multi_step", schedule__milestones=[0.3, 0.6], schedule__factor=0.1)
    assert [steps[i] for i in (0, 299, 300, 599, 600, 999)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    # Milestones are shares of the run, whether it begins with a warm-up or not.
    warmed = at("multi_step", schedule__milestones=[0.3, 0.6], schedule__factor=0.1, schedule__warmup_epochs=2)
    assert [warmed[i] for i in (299, 300, 599, 600, 999)] == pytest.approx([1, 0.1, 0.1, 0.01, 0.01])
    hold = at("trapezoid", schedule__warmup_epochs=1, schedule__decay_from=0.5)
    assert hold[0] < 0.02
    assert hold[100] == hold[400] == 1.0
    assert hold[999] < 0.01
    tested = at("range_test")
    assert tested[0] == pytest.approx(1e-5)
    assert all(a < b for a, b in pairwise(tested))
    assert at("cosine", schedule__final=0.1)[999] == pytest.approx(0.1, abs=1e-3)


@given(NAMES, st.integers(0, 999), st.integers(1, 3000))
def test_a_plan_fitted_anew_keeps_what_was_and_ends_where_the_schedule_ends(name: str, step: int, more: int) -> None:
    plan = make_plan(spec_of(epochs=10, schedule__name=name), 6400)
    fitted = replanned(plan, step, step + more)
    assert fitted.total_steps == step + more
    assert rates(fitted)[:step] == pytest.approx(rates(plan)[:step])
    assert learning_rate(fitted, step) == pytest.approx(learning_rate(plan, step))
    assert fitted.share(step) == pytest.approx(plan.share(step))
    assert fitted.segments[-1].end == 1.0
    shares = [fitted.share(i) for i in range(0, fitted.total_steps, 7)]
    assert all(a <= b for a, b in pairwise(shares))


def test_what_was_added_follows_a_plan_that_is_fitted_anew() -> None:
    spec = spec_of(epochs=10, schedule__name="cosine")
    plan = extended(make_plan(spec, 6400), 2, spec.schedule, 1e-4)
    fitted = replanned(plan, 500, 700)
    assert fitted.total_steps == 900
    assert learning_rate(fitted, 700) == 1e-4
    assert learning_rate(fitted, 899) < 1e-6


@given(NAMES, st.integers(1, 999))
def test_winding_down_falls_from_the_rate_of_now_to_zero(name: str, step: int) -> None:
    plan = make_plan(spec_of(epochs=10, schedule__name=name), 6400)
    down = finished_early(plan, step)
    assert step < down.total_steps <= min(plan.total_steps, step + 500)
    curve = rates(down)
    assert curve[:step] == pytest.approx(rates(plan)[:step])
    assert curve[step] == pytest.approx(learning_rate(plan, step))
    assert all(a >= b for a, b in pairwise(curve[step:]))
    assert curve[-1] <= curve[step] / max(1, down.total_steps - step - 1) + 1e-12


@pytest.mark.parametrize("sizes", [[20, 24], [0.625, 0.75]])
def test_small_images_come_first(sizes: list[float]) -> None:
    spec = spec_of(augment__resolutions=sizes, augment__resolution_until=[0.2, 0.5])
    assert [resolution(spec, share, 32) for share in (0, 0.19, 0.2, 0.49, 0.5, 1.0)] == [20, 20, 24, 24, 32, 32]


def test_the_steps_with_images_of_one_size_are_counted() -> None:
    spec = spec_of(epochs=2, augment__resolutions=[20, 24], augment__resolution_until=[0.25, 0.5])
    plan = make_plan(spec, 64 * 100)
    assert [steps_of_size(spec, plan, step, 32) for step in (0, 49, 50, 99, 100, 199)] == [50, 1, 50, 1, 100, 1]


@pytest.mark.parametrize("preset", ["quick", "fast"])
def test_presets_start_at_shares_of_the_size(preset: str) -> None:
    spec = build_spec("cifar100", preset)
    assert [resolutions(spec, full) for full in (32, 64, 224)] == [[20, 24], [40, 48], [140, 168]]
