"""Images per second of the training loop, against its step on one fixed batch."""

from __future__ import annotations

from tests.benchmarks.training import bare_speed, ratio_row, run_speed
from tests.gpu.cases import ONE_SIZE
from tests.gpu.setup import CIFAR, Setup
from tests.gpu.verdict import Tell
from trainer.plan.steering import COMPILE_AT
from trainer.spec.preset import build_spec

MARK = 0.9
WARM_UP = COMPILE_AT + 6
STEPS = 24  # the second epoch of 49 steps ends after them


def speed(setup: Setup, tell: Tell) -> None:
    fixed = {**ONE_SIZE, "epochs": 9, "checks": "off"}
    small = {"model.widths": [8, 16, 16], "batch_size": 30}  # 120 steps per epoch
    for how, choice, rounds in (("eager", "off", 3), ("compiled", "on", 2)):
        overrides = {**fixed, "compile": choice, "max_steps": WARM_UP + STEPS, **setup.size({}, small)}
        spec = build_spec(CIFAR, "fast", overrides)
        ours, bare = [], []
        for _ in range(setup.size(rounds, 1)):
            found = run_speed(setup.datasets, CIFAR, spec, STEPS, WARM_UP, setup.device)
            ours.append(found.images_per_second)
            bare.append(bare_speed(setup.datasets, spec, STEPS, WARM_UP, found, setup.device))
        row = ratio_row(f"`fast`, {how}, against its bare step", ours, bare, MARK)
        tell(setup.compare(row.what, bool(row.passed), row.measured, row.mark))
