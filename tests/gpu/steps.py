"""The steps in order: what a failure of one would invalidate comes after it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """The function `name` of the module `module` tells the verdicts. `seconds`: the time limit of its process.

    `needs_cifar`: it trains on CIFAR-100, and is skipped where that is not given.
    """

    name: str
    module: str
    title: str
    seconds: float
    needs_cifar: bool = False


STEPS = (
    Step("data", "data", "datasets", 60),
    Step("probe", "probe", "devices, NVML, architectures", 60),
    Step("runs", "processes", "two runs through the fork server", 90),
    Step("tests", "suite", "pytest -m gpu", 180),
    Step("waits", "waits", "no wait for the device between logged steps", 90),
    Step("profile", "profiling", "where the time of `fast` goes", 60, needs_cifar=True),
    Step("speed", "speed", "images/s against a bare step", 180, needs_cifar=True),
    Step("seeds", "accuracy", "time to 75%, three seeds", 180, needs_cifar=True),
    Step("compiled", "accuracy", "`quick` and `resnet18`, compiled", 240, needs_cifar=True),
    Step("predictions", "processes", "predictions beside training", 90),
    Step("resume", "resuming", "resume against an undisturbed twin", 60),
    Step("killed", "processes", "kill -9, requeue, memory freed", 90),
    Step("memory", "memory", "out of memory three ways", 120),
    Step("precision", "precision", "fp16, float32, Adam", 60),
)
NAMES = tuple(step.name for step in STEPS)
