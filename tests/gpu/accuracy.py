"""Whole runs on CIFAR-100: `fast` with three seeds, and `quick` and `resnet18` compiled."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from tests.benchmarks.long import LongRun, measure
from tests.benchmarks.rows import served
from tests.gpu.cases import Case, series, train_case
from tests.gpu.setup import CIFAR, Setup
from tests.gpu.verdict import Tell, Verdict, check
from trainer.plan.decisions import recorded
from trainer.rundir.events import walk

SEEDS = (0, 1, 2)
ACCURACY = 0.75
SMALL = {"model.widths": [8, 16, 16], "epochs": 1, "batch_size": 100, "compile": "off"}

# The least validation accuracy: that the network learns, not how well it ends.
# Each size of images is compiled for, which takes most of the time.
COMPILED: dict[str, tuple[dict[str, Any], float]] = {
    "quick": ({"epochs": 14, "augment.resolutions": [0.75], "augment.resolution_until": [0.5]}, 0.6),
    "resnet18": ({"epochs": 6}, 0.3),
}
SMALL_COMPILED: dict[str, dict[str, Any]] = {
    "quick": {"model.widths": [8, 16, 16], "epochs": 2, "batch_size": 50},
    "resnet18": {"model.widths": [4, 4, 4, 4], "epochs": 3},
}


def seeds(setup: Setup, tell: Tell) -> None:
    run = LongRun("`fast`", "fast", ACCURACY, 2, setup.size({}, SMALL))
    found = []
    with setup.scratch() as home:
        with served(home=home) as address, httpx.Client(base_url=address, timeout=30) as client:
            for seed in setup.size(SEEDS, SEEDS[:1]):
                found.append(measure(client, run, seed))
                said = f"{found[-1]['test/acc']:.2%} after {found[-1]['seconds']} s, {found[-1]['epochs']} epochs"
                tell(setup.compare(f"`fast`, seed {seed}: test accuracy, from launch to final test", True, said))
        (folder, *_) = sorted((home / "runs").iterdir(), key=lambda path: path.stat().st_ctime)
        lines = list(phases(folder))
    mean = statistics.fmean(result["test/acc"] for result in found)
    seconds = statistics.fmean(result["seconds"] for result in found)
    measured = f"{mean:.2%} after {seconds:.1f} s"
    tell(setup.compare("`fast`: mean test accuracy", mean >= ACCURACY, measured, f"≥ {ACCURACY:.0%}"))
    tell(Verdict("phases of the first run, in seconds", "measured", f"{len(lines)} phases", "", tuple(lines)))


def phases(run_dir: Path) -> Iterator[str]:
    """Yield how long each phase of a run lasted, evaluations and checkpoints of its epochs included."""
    begun = [
        (event["t"], event.get("phase", event["e"]))
        for _, event in walk(run_dir)
        if event["e"] in ("start", "phase", "end")
    ]
    for (since, name), (until, _) in pairwise(begun):
        yield f"{until - since:8.2f}  {name}"


def compiled(setup: Setup, tell: Tell) -> None:
    for preset, (overrides, least) in COMPILED.items():
        with setup.scratch() as folder:
            small = setup.size({}, SMALL_COMPILED[preset])
            case = Case(preset, {**overrides, "compile": "on", "checks": "off", **small}, preset, CIFAR, setup.device)
            ended = train_case(folder / preset, setup.datasets, case)
            tell(check(f"`{preset}`, compiled, trains to its end", ended == "finished", ended, "finished"))
            kept = [made.values["on"] for made in recorded(folder / preset) if made.kind == "compile"]
            tell(check(f"`{preset}` stays compiled", kept == [True], "compiled" if kept == [True] else f"{kept}"))
            losses, accuracies = series(folder / preset, "train/loss"), series(folder / preset, "val/acc")
            speeds = series(folder / preset, "throughput")[-20:]
        finite = all(map(math.isfinite, losses))
        tell(setup.compare(f"`{preset}`: every loss is finite", finite, f"{len(losses)} losses", "finite"))
        best = max(accuracies, default=0.0)
        tell(setup.compare(f"`{preset}`: validation accuracy", best >= least, f"{best:.1%}", f"≥ {least:.0%}"))
        tell(setup.compare(f"`{preset}`: speed", True, f"{statistics.median(speeds):,.0f} images/s"))
