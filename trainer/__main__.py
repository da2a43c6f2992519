"""`python -m trainer spec.json`: train the run whose folder that file lies in, without any server."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from trainer.process.assignment import Assignment
from trainer.process.trainer import run_trainer
from trainer.rundir.events import attempts


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m trainer", description=__doc__)
    parser.add_argument("spec", type=Path, help="spec.json in the run's folder")
    parser.add_argument("--datasets", type=Path, required=True, help="the folder of the datasets")
    parser.add_argument("--device", default="cpu", help="several, with commas between them, train the run together")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    run_dir = options.spec.resolve().parent
    attempt = max(attempts(run_dir), default=0) + 1
    device, *others = options.device.split(",")
    return run_trainer(Assignment(str(run_dir), str(options.datasets), device, attempt, others=tuple(others)))


if __name__ == "__main__":
    sys.exit(main())
