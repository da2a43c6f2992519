"""Measures how a network is executed fastest on this CPU, by a few training steps in each way.

What a processor says about its instructions does not tell: some have instructions for bfloat16 and are slower with it.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import psutil
import torch
from torch import Tensor, nn

from trainer.engine.runtime import autocast_of, layout_of
from trainer.plan.execution import Execution, Precision

STEP_SECONDS = 0.04  # of one step of the probe: it takes fewer images if a step of the run takes longer
LEAST_IMAGES = 2  # for BatchNorm
SECONDS = 0.4  # each for precision, memory layout and threads
FIRST_SECONDS, FIRST_SHARE = 0.3, 4.0  # a first step of more than both, in times of the fastest, is the last one
ROUNDS = 12
GAIN = 0.95  # another execution has to take less than this share of the present one's time
HOPELESS = 1.5  # times the fastest one's, twice as much after a single step: not measured again
BUSY_SHARE = 0.15  # of the machine's time that other processes use: then fewer threads look better than they are

Step = Callable[[Execution], None]


@dataclass(frozen=True)
class Probe:
    """`seconds` per step of each execution that was tried. `busy`: other processes used the machine meanwhile."""

    chosen: Execution
    seconds: dict[Execution, float]
    busy: bool


def fastest(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    now: Execution,
    precisions: Sequence[Precision],
    *,
    threads_are_free: bool,
) -> Probe:
    """Find the fastest execution of `model` in training mode, in about two seconds where nothing else runs.

    `images` float32 B×3×H×W and `labels` are a batch; `now` is how the run is executed at present, and stays unless
    another way is faster by more than noise. `precisions` are allowed. The model and the random state are unchanged.
    """
    load = Load()
    copies = {
        channels_last: copy.deepcopy(model).to(
            memory_format=torch.channels_last if channels_last else torch.contiguous_format
        )
        for channels_last in (True, False)
    }

    def step(execution: Execution) -> None:
        torch.set_num_threads(execution.threads)
        layout = layout_of(execution)
        trained = copies[execution.channels_last].train()
        trained.zero_grad(set_to_none=True)
        with autocast_of(execution, images.device):
            value = loss(trained(images.contiguous(memory_format=layout)), labels)
        value.backward()  # type: ignore[no-untyped-call]

    with torch.random.fork_rng(devices=[]):
        others = [replace(now, precision=precision) for precision in precisions if precision != now.precision]
        seconds = compare(step, [now, *others], SECONDS)
        chosen = best(seconds, now)
        other = replace(chosen, channels_last=not chosen.channels_last)
        layouts = compare(step, [chosen, other], SECONDS)
        chosen = best(layouts, chosen)
        seconds = shorter(seconds, layouts)
        if threads_are_free:
            threads = compare(step, [chosen, *(replace(chosen, threads=n) for n in halves(now.threads))], SECONDS, 3)
            if load.of_others() < BUSY_SHARE:
                chosen = best(threads, chosen)
            seconds = shorter(seconds, threads)
    torch.set_num_threads(now.threads)
    return Probe(chosen, seconds, busy=load.of_others() >= BUSY_SHARE)


def compare(
    step: Step,
    executions: Sequence[Execution],
    seconds: float,
    repeat: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Execution, float]:
    """Return the shortest time of a step in each execution, in seconds.

    They take turns, so that a machine that gets busy slows all of them down, and the shortest time counts. `repeat`
    steps are made per turn, and the last one is timed.
    """
    deadline = clock() + seconds
    shortest: dict[Execution, float] = {}
    left = list(executions)
    for number in range(ROUNDS):
        for execution in left:
            if number and clock() > deadline:
                return shortest
            for _ in range(repeat if number else repeat + 1):  # the very first step prepares the kernels
                began = clock()
                step(execution)
                took = clock() - began
                if took > max(FIRST_SECONDS, FIRST_SHARE * min(shortest.values(), default=math.inf)):
                    break  # emulated, for example: it is not worth another step
            shortest[execution] = min(took, shortest.get(execution, took))
        limit = (HOPELESS if number else 2 * HOPELESS) * min(shortest.values())
        left = [execution for execution in left if shortest[execution] <= limit]
    return shortest


def shorter(some: dict[Execution, float], others: dict[Execution, float]) -> dict[Execution, float]:
    """Return the shorter time of each execution."""
    return {key: min(some.get(key, math.inf), others.get(key, math.inf)) for key in some | others}


def best(seconds: dict[Execution, float], now: Execution) -> Execution:
    found = min(seconds, key=lambda execution: seconds[execution])
    return found if seconds[found] < GAIN * seconds[now] else now


def halves(threads: int) -> Iterable[int]:
    """Half of the threads, a quarter of them, ..., and one."""
    while threads > 1:
        threads //= 2
        yield threads


class Load:
    """The share of the machine's time that other processes used since this was made."""

    def __init__(self) -> None:
        self._began, self._busy, self._own = time.perf_counter(), busy_seconds(), time.process_time()

    def of_others(self) -> float:
        wall = max(1e-3, time.perf_counter() - self._began)
        others = busy_seconds() - self._busy - (time.process_time() - self._own)
        return max(0.0, others) / (wall * (psutil.cpu_count() or 1))


def busy_seconds() -> float:
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
