from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from pydantic import BaseModel

from trainer.schedule import is_logged, learning_rate, log_interval, make_plan
from trainer.spec import SpecError, TrainSpec, build_spec, differences, flatten, presets

BASELINES = {
    "baseline-mlp", "baseline-cnn", "baseline-cnn-lr1e-4", "baseline-cnn-lr2.5e-4", "baseline-cnn-first",
    "baseline-cnn-regularised", "baseline-cnn-sgd",
}  # fmt: skip


def parts(model: type[BaseModel]) -> list[type[BaseModel]]:
    found = [model]
    for field in model.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += parts(field.annotation)
    return found


def test_every_setting_says_why_it_is_there() -> None:
    for part in parts(TrainSpec):
        for name, field in part.model_fields.items():
            nested = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
            assert nested or field.description, f"{part.__name__}.{name}"


def test_every_preset_builds_and_the_origins_are_there() -> None:
    assert set(presets()) >= BASELINES
    for name in presets():
        assert build_spec("shapes100", name).preset == name


def test_the_baselines_are_the_origins() -> None:
    first = build_spec("d", "baseline-cnn-first")
    assert (first.batch_size, first.optimizer.lr, first.epochs) == (128, 1e-5, 100)
    sgd = build_spec("d", "baseline-cnn-sgd")
    assert (sgd.optimizer.name, sgd.optimizer.momentum, sgd.batch_size, sgd.epochs) == ("sgd", 0.9, 32, 65)
    mlp = build_spec("d", "baseline-mlp")
    assert (mlp.overfit_one_batch, mlp.epochs, mlp.optimizer.lr) == (True, 1000, 1e-4)


def test_overrides_are_dotted_and_show_as_differences() -> None:
    base, spec = build_spec("d", "baseline-cnn"), build_spec("d", "baseline-cnn", {"optimizer.lr": 3e-4, "epochs": 2})
    assert differences(spec, base) == {"optimizer.lr": (1e-3, 3e-4), "epochs": (100, 2)}
    assert flatten(spec)["augment.flip"] is False


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        ({"optimizer.lr": float("nan")}, "overrides.optimizer.lr"),
        ({"optimizer.lr": float("inf")}, "overrides.optimizer.lr"),
        ({"epochs": 1.5}, "overrides.epochs"),
        ({"nothing": 1}, "overrides.nothing"),
        ({"optimizer.lr.deeper": 1}, "overrides.optimizer.lr.deeper"),
    ],
)
def test_what_is_wrong_is_named(overrides: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        build_spec("d", "baseline-cnn", overrides)
    assert list(caught.value.fields) == [field]


def test_a_plan_counts_whole_batches() -> None:
    spec = build_spec("d", "baseline-cnn", {"epochs": 3})
    plan = make_plan(spec, 45_000)
    assert (plan.steps_per_epoch, plan.total_steps) == (703, 2109)
    assert make_plan(spec, 45_000, extend_epochs=2).total_steps == 5 * 703
    short = build_spec("d", "baseline-cnn", {"max_steps": 1000})
    assert make_plan(short, 45_000).epochs == 2
    assert make_plan(short, 45_000, extend_epochs=1).total_steps == 1703
    assert make_plan(spec, 10).batch_size == 10
    assert plan.ends_epoch(703)
    assert not plan.ends_epoch(704)


def test_cosine_warms_up_and_anneals_to_zero() -> None:
    overrides = {"epochs": 10, "schedule.name": "cosine", "schedule.warmup_epochs": 1}
    spec = build_spec("d", "baseline-cnn", overrides)
    plan = make_plan(spec, 6400)
    rates = [learning_rate(spec, plan, step) for step in range(plan.total_steps)]
    assert rates[0] < rates[50] < rates[99] < rates[100] == pytest.approx(1e-3)
    assert all(later <= earlier for earlier, later in pairwise(rates[100:]))
    assert rates[-1] < 1e-6


def test_the_first_steps_are_all_logged() -> None:
    spec = build_spec("d", "baseline-cnn")
    interval = log_interval(spec, make_plan(spec, 45_000))
    assert interval == 4
    assert [step for step in range(1, 25) if is_logged(step, interval)] == [*range(1, 17), 20, 24]
