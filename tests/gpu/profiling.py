"""Where the time of a step of `fast` goes: torch.profiler over some steps of a real run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch
from torch.autograd.profiler_util import EventList, FunctionEventAvg
from torch.profiler import ProfilerActivity

from tests.gpu.cases import EAGER, ONE_SIZE, Case, Watcher, train_case
from tests.gpu.setup import CIFAR, Setup
from tests.gpu.verdict import Tell, check, measurement, skipped

PROFILED = range(24, 34)
STEPS, LAST = len(PROFILED), 40
ROWS = 20
LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx")
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")


@dataclass
class Profiling(Watcher):
    """Profiles the steps PROFILED, beginning and ending with an idle device."""

    seconds: float = 0.0
    averages: EventList | None = None
    _profile: torch.profiler.profile | None = field(default=None, repr=False)

    def step(self, number: int) -> None:
        if number == PROFILED.start:
            self._profile = torch.profiler.profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])
            self._profile.start()
            torch.cuda.synchronize()
            self.seconds = -time.perf_counter()
        elif number == PROFILED.stop and self._profile is not None:
            torch.cuda.synchronize()
            self.seconds += time.perf_counter()
            self._profile.stop()
            self.averages = self._profile.key_averages()


def profile(setup: Setup, tell: Tell) -> None:
    watcher = Profiling()
    small = {"model.widths": [8, 16, 16], "batch_size": 50}
    overrides = {**EAGER, **ONE_SIZE, "max_steps": LAST, **setup.size({}, small)}
    with setup.scratch() as folder:
        case = Case("profiled", overrides, "fast", CIFAR, setup.device)
        ended = train_case(folder / "profiled", setup.datasets, case, watcher)
    tell(check("`fast` trains under the profiler", ended == "finished", ended, "finished"))
    if watcher.averages is None:
        return
    step_ms = 1000 * watcher.seconds / STEPS
    images = 1000 * setup.size(1000, 50) / step_ms
    tell(setup.compare("a step of `fast`, eager, profiled", True, f"{step_ms:.2f} ms, {images:,.0f} images/s"))
    on_host = [row for row in watcher.averages if row.device_type.name == "CPU"]
    tell(measurement("calls by their time on the CPU", f"{len(on_host)}", table(on_host, "cpu")))
    kernels = [row for row in watcher.averages if row.device_type.name == "CUDA" and not row.is_user_annotation]
    if not kernels:  # CUPTI needs a permission in some containers; the simulated device has none
        tell(skipped("time on the GPU", "the profiler saw no kernels: CUPTI could not be used"))
        return
    busy = sum(row.self_device_time_total for row in kernels) / 1000 / STEPS
    tell(measurement("time per step in which the GPU computes", f"{busy:.2f} ms, {busy / step_ms:.0%}"))
    tell(measurement("kernels launched per step", f"{calls(on_host, LAUNCHES):.0f}"))
    tell(measurement("waits for the device per step", f"{calls(on_host, WAITS):.1f}"))
    tell(measurement("operators by the time of their kernels", f"{len(on_host)}", table(on_host, "device")))
    tell(measurement("kernels by their time", f"{len(kernels)}", table(kernels, "device")))


def calls(rows: list[FunctionEventAvg], names: tuple[str, ...]) -> float:
    """Return the calls of these functions per step."""
    return float(sum(row.count for row in rows if row.key in names)) / STEPS


def table(rows: list[FunctionEventAvg], where: str) -> list[str]:
    """Return the ROWS rows with the most time of their own on the "device" or the "cpu", per step."""
    times = [(getattr(row, f"self_{where}_time_total") / 1000 / STEPS, row) for row in rows]
    total = sum(spent for spent, _ in times) or 1.0
    first = sorted(times, key=lambda entry: -entry[0])[:ROWS]
    lines = [
        f"{spent:9.3f}  {spent / total:5.1%}  {row.count / STEPS:10.1f}  {str(row.key)[:90]}"
        for spent, row in first
        if spent
    ]
    return ["  ms/step  share  calls/step  name", *lines]
