"""A run that was stopped and resumed, against an undisturbed run of the same spec."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.conftest import NARROW
from tests.gpu.cases import EAGER, Case, series, train_case
from tests.gpu.setup import Setup
from tests.gpu.verdict import Tell, check
from trainer.models import checkpoint
from trainer.rundir.checkpoints import last_checkpoint

STEPS, STOP_AT = 60, 25
AS_EQUAL = 10  # times the distance of two undisturbed runs, which sums in another order may cause
LEAST = 1e-3


def resume(setup: Setup, tell: Tell) -> None:
    recipe = {**NARROW, **EAGER, "model.dropout": 0.2, "augment.flip": True, "augment.crop": 4, "optimizer.ema": 0.9}
    with setup.scratch() as folder:
        for name, stop_at in (("whole", None), ("twin", None), ("stopped", STOP_AT)):
            case = Case(name, {**recipe, "max_steps": STEPS}, device=setup.device, stop_at=stop_at)
            ended = train_case(folder / name, setup.datasets, case)
            tell(check(f"the {name} run ends", ended == "finished", ended, "finished"))
        whole, twin, stopped = (last_state(folder / name) for name in ("whole", "twin", "stopped"))
        lengths = [len(series(folder / name, "train/loss")) for name in ("whole", "stopped")]
    same = torch.equal(whole["rng.cuda"], stopped["rng.cuda"]) and torch.equal(whole["rng.cpu"], stopped["rng.cpu"])
    tell(check("the random state at the end is that of the undisturbed run", same))
    tell(check("as many steps are logged", lengths[0] == lengths[1], f"{lengths[1]}", f"{lengths[0]}"))
    noise, distance = apart(whole, twin), apart(whole, stopped)
    mark = max(AS_EQUAL * noise, LEAST)
    measured = f"{distance:.2g} of their norm; two undisturbed runs: {noise:.2g}"
    tell(setup.compare("distance of the weights", distance <= mark, measured, f"≤ {mark:.2g}"))


def last_state(run_dir: Path) -> dict[str, torch.Tensor]:
    info = last_checkpoint(run_dir)
    assert info is not None
    return checkpoint.load(run_dir, info).tensors


def apart(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    """Return the distance of two runs' weights relative to their norm."""
    names = [name for name in first if name.startswith("raw.") and first[name].is_floating_point()]
    one, other = (torch.cat([state[name].flatten().double() for name in names]) for state in (first, second))
    return float(torch.linalg.vector_norm(one - other) / torch.linalg.vector_norm(one))
