"""Where the time of a step of `fast` goes: torch.profiler over some steps of a real run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch
from torch.autograd.profiler_util import EventList, FunctionEventAvg
from torch.profiler import ProfilerActivity

from tests.gpu.cases import EAGER, ONE_SIZE, Case, Watcher, train_case
from tests.gpu.setup import CIFAR, Setup
from tests.gpu.verdict import Tell, check, measurement

PROFILED = range(24, 34)
LAST = 40
ROWS = 20
LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx")
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")


@dataclass
class Profiling(Watcher):
    """Profiles the steps PROFILED, beginning and ending with an idle device."""

    activities: list[ProfilerActivity]
    seconds: float = 0.0
    averages: EventList | None = None
    _profile: torch.profiler.profile | None = field(default=None, repr=False)

    def step(self, number: int) -> None:
        if number == PROFILED.start:
            self._profile = torch.profiler.profile(activities=self.activities)
            self._profile.start()
            torch.cuda.synchronize()
            self.seconds = -time.perf_counter()
        elif number == PROFILED.stop and self._profile is not None:
            torch.cuda.synchronize()
            self.seconds += time.perf_counter()
            self._profile.stop()
            self.averages = self._profile.key_averages()


def profile(setup: Setup, tell: Tell) -> None:
    activities = [ProfilerActivity.CPU, *setup.size([ProfilerActivity.CUDA], [])]
    watcher = Profiling(activities)
    small = {"model.widths": [8, 16, 16], "batch_size": 50}
    overrides = {**EAGER, **ONE_SIZE, "max_steps": LAST, **setup.size({}, small)}
    with setup.scratch() as folder:
        case = Case("profiled", overrides, "fast", CIFAR, setup.device)
        ended = train_case(folder / "profiled", setup.datasets, case, watcher)
    tell(check("`fast` trains under the profiler", ended == "finished", ended, "finished"))
    if watcher.averages is None:
        return
    steps = len(PROFILED)
    step_ms = 1000 * watcher.seconds / steps
    on_device = [row for row in watcher.averages if row.device_type.name == "CUDA" and not row.is_user_annotation]
    on_host = [row for row in watcher.averages if row.device_type.name == "CPU"]
    busy = sum(row.self_device_time_total for row in on_device) / 1000 / steps
    images = setup.size(1000, 50) / step_ms * 1000
    tell(setup.compare("a step of `fast`, eager, profiled", True, f"{step_ms:.2f} ms, {images:,.0f} images/s"))
    launches, waits = (
        sum(row.count for row in watcher.averages if row.key in names) / steps for names in (LAUNCHES, WAITS)
    )
    tell(setup.compare("kernels launched per step", True, f"{launches:.0f}"))
    tell(setup.compare("waits for the device per step", True, f"{waits:.1f}"))
    tell(setup.compare("time per step in which the GPU computes", True, f"{busy:.2f} ms, {busy / step_ms:.0%}"))
    tell(measurement("kernels", f"{len(on_device)}", table(on_device, steps, "device")))
    tell(measurement("operators by the time of their kernels", f"{len(on_host)}", table(on_host, steps, "device")))
    tell(measurement("calls by their time on the CPU", f"{len(on_host)}", table(on_host, steps, "cpu")))


def table(rows: list[FunctionEventAvg], steps: int, where: str) -> list[str]:
    """Return the ROWS rows with the most time of their own on the "device" or the "cpu", per step."""
    times = [(getattr(row, f"self_{where}_time_total") / 1000 / steps, row) for row in rows]
    total = sum(spent for spent, _ in times) or 1.0
    first = sorted(times, key=lambda entry: -entry[0])[:ROWS]
    lines = [
        f"{spent:9.3f}  {spent / total:5.1%}  {row.count / steps:10.1f}  {str(row.key)[:90]}"
        for spent, row in first
        if spent
    ]
    return ["  ms/step  share  calls/step  name", *lines]
