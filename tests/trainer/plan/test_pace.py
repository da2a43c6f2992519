"""A time budget in minutes is converted to a number of steps by the measured speed."""

from __future__ import annotations

import pytest

from trainer.plan.decisions import Decision
from trainer.plan.pace import Pace, typical
from trainer.plan.schedule import Plan, make_plan, replanned
from trainer.plan.steering import Course, Trial, replay
from trainer.spec.preset import build_spec


def run_at(seconds: dict[int, float], minutes: float) -> tuple[Plan, float]:
    """Simulate a run and return its last plan and its duration; `seconds` is the time per step by resolution."""
    spec = build_spec("d", "quick", {"budget.minutes": minutes})
    plan = make_plan(spec, 49_000)
    pace = Pace(spec, 32, plan.batch_size, 30_000, 3000)
    clock, step = 1.0, 0
    while step < plan.total_steps:
        if pace.wants_plan(plan, step):
            decision = Decision(step, "plan", {"total": pace.total_steps(plan, step, clock)})
            pace.follow([decision])
            plan = replanned(plan, step, decision.values["total"])
        size = 20 if plan.share(step) < 0.2 else 24 if plan.share(step) < 0.55 else 32
        clock += seconds[size]
        step += 1
        if step % 4 == 0:
            pace.stepped(size, 4, 4 * seconds[size])
        if plan.ends_epoch(step):
            clock += 1.5
            pace.evaluated(3000, 1.5)
    return plan, clock + 30_000 * 1.5 / 3000


@pytest.mark.parametrize("minutes", [3, 10, 60])
@pytest.mark.parametrize("seconds", [{20: 0.1, 24: 0.16, 32: 0.32}, {20: 0.3, 24: 0.35, 32: 0.4}])
def test_a_budget_is_kept_whatever_the_speed(seconds: dict[int, float], minutes: float) -> None:
    plan, clock = run_at(seconds, minutes)
    assert 60 * minutes * 0.97 < clock < 60 * minutes * 1.005
    assert plan.segments[-1].end == 1.0


def test_epochs_asked_for_end_the_presets_minutes() -> None:
    assert build_spec("d", "quick").budget.minutes == 10
    assert build_spec("d", "quick", {"epochs": 3}).budget.minutes is None
    assert build_spec("d", "quick", {"epochs": 3, "budget.minutes": 2}).budget.minutes == 2


def test_a_machine_that_stood_still_at_the_start_does_not_end_the_run() -> None:
    plan = make_plan(build_spec("d", "quick"), 49_000)
    pace = Pace(build_spec("d", "quick"), 32, plan.batch_size, 30_000, 3000)
    for seconds in (90.0, 0.1, 0.1, 0.1, 0.1, 0.1):
        pace.stepped(20, 1, seconds)
    assert pace.total_steps(plan, 8, 91) > 1500


def test_slow_steps_count_as_often_as_they_come() -> None:
    assert typical([0.1, 0.1, 0.1, 0.5] * 15) == pytest.approx(0.2, abs=0.02)
    assert typical([0.1] * 59 + [90.0]) == pytest.approx(0.1)
    assert typical([0.3]) == 0.3


def test_compiled_steps_are_compared_with_eager_ones_of_the_same_size() -> None:
    for share, pays in ((0.5, True), (1.0, False), (1.5, False)):
        pace = Pace(build_spec("d", "baseline-cnn"), 32, 64, 1000, 1000)
        pace.stepped(32, 1, 20.0, compiled=True)  # with the compiler's time
        for _ in range(5):
            pace.stepped(24, 1, 0.01, compiled=True)
            pace.stepped(32, 1, 0.1)
            assert pace.compared() is None
        for _ in range(4):
            pace.stepped(32, 1, 0.1 * share, compiled=True)
        compared = pace.compared()
        assert compared is not None
        assert (compared.compiled, compared.eager) == pytest.approx((0.1 * share, 0.1))
        assert compared.compiling_pays is pays


def test_a_machine_that_becomes_slower_during_a_trial_does_not_change_its_result() -> None:
    pace = Pace(build_spec("d", "baseline-cnn"), 32, 64, 1000, 1000)
    trial = Trial(64, 8)
    for step in range(64, trial.end):
        eager = 0.1 if step < 100 else 0.13
        pace.stepped(32, 1, 0.85 * eager if trial.compiles(step) else eager, compiled=trial.compiles(step))
    compared = pace.compared()
    assert compared is not None
    assert compared.compiling_pays


def test_a_trial_takes_as_many_compiled_steps_as_eager_ones_and_ends_compiled() -> None:
    trial = Trial(64, 10)
    compiled = [trial.compiles(step) for step in range(64, trial.end)]
    assert sum(compiled) == len(compiled) / 2
    assert compiled[:20] == 10 * [True] + 10 * [False]
    assert trial.compiles(trial.end)
    course = replay(Course(make_plan(build_spec("d", "baseline-cnn"), 49_000)), [])
    assert not course.compiles(64)
    tried = replay(course, [Decision(64, "compile", {"on": True, "trial": 10})])
    assert [tried.compiles(step) for step in range(64, trial.end)] == compiled
    assert replay(tried, [Decision(trial.end, "compile", {"on": True})]).compiles(trial.end)
    assert not replay(tried, [Decision(70, "compile", {"on": False})]).compiles(70)
    before = replay(course, [Decision(64, "compile", {"on": True})])  # recorded by an earlier version
    assert all(before.compiles(step) for step in range(64, trial.end))


def test_steps_to_come_take_as_long_as_those_that_are_executed_alike() -> None:
    spec = build_spec("d", "quick", {"budget.minutes": 10})
    plan = make_plan(spec, 49_000)
    pace = Pace(spec, 32, plan.batch_size, 30_000, 3000)
    for _ in range(20):
        pace.stepped(20, 1, 0.4)
    eager = pace.total_steps(plan, 20, 8)
    pace.stepped(20, 1, 30, compiled=True)  # with the compiler's time
    assert pace.total_steps(plan, 21, 38) > 0.9 * eager
    for _ in range(20):
        pace.stepped(20, 1, 0.2, compiled=True)
    assert pace.total_steps(plan, 40, 44) > 1.6 * eager
