from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import psutil
import pytest
import torch
import torch.nn.functional as F

from trainer.engine.probe import Load, best, busy_seconds, compare, fastest, halves
from trainer.models.build import build_model
from trainer.plan.execution import Execution
from trainer.spec.model_spec import ModelSpec

NOW = Execution("float32", True, 2)
BF16 = Execution("bf16", True, 2)


def spend(seconds: float) -> None:
    """Use the processor, as a step does, for `seconds` of this process's time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_the_fastest_is_chosen_if_it_gains_more_than_noise() -> None:
    assert best({NOW: 1.0, BF16: 0.9}, NOW) == BF16
    assert best({NOW: 1.0, BF16: 0.97}, NOW) == NOW
    assert best({NOW: 1.0, BF16: 1.9}, NOW) == NOW


def test_what_is_hopeless_is_tried_no_more_and_the_time_is_kept() -> None:
    tried: list[Execution] = []
    clock = Clock()

    def step(execution: Execution) -> None:
        tried.append(execution)
        clock.now += 0.02 if execution == NOW else 0.1

    seconds = compare(step, [NOW, BF16], 0.5, clock=clock)
    assert clock.now <= 0.6
    assert seconds[NOW] < seconds[BF16]
    assert tried.count(BF16) == 2  # to prepare it, and once
    assert tried.count(NOW) > 2


def test_a_load_that_comes_and_goes_does_not_reverse_the_verdict() -> None:
    slower = itertools.cycle([1, 1, 3, 3, 3])
    clock = Clock()

    def step(execution: Execution) -> None:
        clock.now += next(slower) * (0.003 if execution == BF16 else 0.008)

    assert best(compare(step, [NOW, BF16], 2.0, clock=clock), NOW) == BF16


def test_fewer_threads_down_to_one() -> None:
    assert [*halves(12)] == [6, 3, 1]
    assert [*halves(1)] == []


def test_the_load_of_this_process_is_not_that_of_others() -> None:
    busy, own, began = busy_seconds(), time.process_time(), time.perf_counter()
    load = Load()
    spend(0.3)
    share, elapsed = load.of_others(), time.perf_counter() - began
    used_by_others = busy_seconds() - busy - (time.process_time() - own)
    assert share * elapsed * (psutil.cpu_count() or 1) <= used_by_others + 0.1  # the system counts in hundredths


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("name", ["cnn", "swift"])
def test_a_network_is_probed_without_a_trace(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # As if the processor said that it is fast with bfloat16.
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    torch.manual_seed(1)
    widths = (8, 16, 16) if name == "swift" else (6, 8, 8)
    model = build_model(ModelSpec(name=name, widths=widths, dropout=0.1), 10, 32, pretrained=False)
    model.to(memory_format=torch.channels_last)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8)
    state = torch.get_rng_state()
    probe = fastest(model, images, labels, F.cross_entropy, NOW, ("float32", "bf16"), threads_are_free=True)
    assert {NOW, probe.chosen} <= probe.seconds.keys()
    assert {execution.threads for execution in probe.seconds} == {1, 2}
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == 2
