"""`python -m tests.gpu`: run all steps or the named ones; print verdicts as lines of JSON, and a summary at the end.

The exit status is 1 if a step failed, and 2 if there is no NVIDIA GPU or driver.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from app.host.devices import has_driver
from app.settings import Settings
from tests.gpu.report import Report
from tests.gpu.runner import run_steps
from tests.gpu.setup import CIFAR, Setup
from tests.gpu.steps import NAMES, STEPS


def main() -> int:
    options = parser().parse_args()
    if not has_driver():
        print("There is no NVIDIA driver on this machine.", file=sys.stderr)
        return 2
    report = Report(options.out)
    with tempfile.TemporaryDirectory(prefix="trackside-gpu-") as folder:
        setup = Setup(Path(folder), options.device, options.data, options.dry_run)
        setup.datasets.mkdir()
        imported = Settings().datasets.resolve() / CIFAR
        if options.data is None and (imported / "dataset.json").exists():
            (setup.datasets / CIFAR).symlink_to(imported)
        # The datasets are needed by all other steps.
        chosen = [step for step in STEPS if step.name == "data" or step.name in (options.steps or NAMES)]
        run_steps(chosen, setup, report, seconds=options.seconds, total=options.total)
    report.close()
    print("\n".join(report.summary()), flush=True)
    return 1 if report.failed else 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m tests.gpu", description="Try the GPU path on one NVIDIA GPU.")
    made.add_argument("--steps", nargs="+", choices=NAMES, metavar="NAME", help=f"only these: {', '.join(NAMES)}")
    made.add_argument("--seconds", type=float, metavar="LIMIT", help="time limit of each step, in place of its own")
    made.add_argument("--total", type=float, metavar="LIMIT", help="time limit of all steps together, in seconds")
    made.add_argument("--out", type=Path, metavar="FILE", help="write the verdicts as lines of JSON to FILE as well")
    made.add_argument("--data", type=Path, metavar="DIR", help="CIFAR-100 as `make gpu-data` writes it")
    made.add_argument("--device", default="cuda:0", help="PyTorch's name of the GPU (default: %(default)s)")
    made.add_argument(
        "--dry-run",
        action="store_true",
        help="on the simulated device of tests/cuda: small sizes; results and speed are not judged",
    )
    return made


if __name__ == "__main__":
    sys.exit(main())
