"""Number formats and optimizers: each trains, and the gradient's norm does not depend on the format."""

from __future__ import annotations

import statistics
from typing import Any

from tests.conftest import NARROW
from tests.gpu.cases import EAGER, MUON, Case, series, train_case
from tests.gpu.setup import Setup
from tests.gpu.verdict import Tell, check

RUNS: dict[str, dict[str, Any]] = {
    "float32 and Adam": {"precision": "float32"},
    "bf16 and Adam": {"precision": "bf16"},
    "fp16 and Adam": {"precision": "fp16"},
    "fp16 and AdamW, clipped": {"precision": "fp16", "optimizer.name": "adamw", "optimizer.clip_norm": 1.0},
    "fp16 and Muon": {"precision": "fp16", **MUON},
    "float32 and Muon": {"precision": "float32", **MUON},
}
COMPARED = "float32 and Adam"
STEPS = 110  # two epochs
FACTOR = 2.0


def precision(setup: Setup, tell: Tell) -> None:
    norms: dict[str, float] = {}
    for name, overrides in RUNS.items():
        with setup.scratch() as folder:
            case = Case(name, {**NARROW, **EAGER, **overrides, "max_steps": setup.size(STEPS, 20)}, device=setup.device)
            ended = train_case(folder / "run", setup.datasets, case)
            losses, gradients = series(folder / "run", "train/loss"), series(folder / "run", "grad/norm")
        tell(check(f"{name}: trains to its end", ended == "finished", ended, "finished"))
        if not losses or not gradients:
            continue
        first, last = statistics.fmean(losses[:5]), statistics.fmean(losses[-5:])
        tell(setup.compare(f"{name}: loss", last < first, f"{first:.3f}, then {last:.3f}", "falls"))
        norms[name] = gradients[0]
    expected = norms.get(COMPARED)
    for name, norm in norms.items():
        if expected is not None and name.endswith("and Adam") and name != COMPARED:
            near = expected / FACTOR <= norm <= expected * FACTOR
            said = f"{norm:.3g}, in float32 {expected:.3g}"
            tell(setup.compare(f"{name}: norm of the first gradient", near, said, f"within a factor of {FACTOR:g}"))
