"""`python -m tests.gpu.step MODULE FUNCTION FOLDER DEVICE DATA DRY_RUN`: one step.

Writes its verdicts to standard output.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path

from tests.gpu.setup import Setup
from tests.gpu.steps import Step
from tests.gpu.verdict import Verdict


def command_of(step: Step, setup: Setup) -> list[str]:
    given = [str(setup.folder), setup.device, str(setup.data or ""), "dry run" if setup.dry_run else ""]
    return [sys.executable, "-m", "tests.gpu.step", step.module, step.name, *given]


def main(module: str, function: str, folder: str, device: str, data: str, dry_run: str) -> None:
    setup = Setup(Path(folder), device, Path(data) if data else None, bool(dry_run))
    # Whatever else is printed, by servers too, goes where errors go.
    with os.fdopen(os.dup(1), "wb", buffering=0) as verdicts:
        os.dup2(2, 1)

        def tell(verdict: Verdict) -> None:
            verdicts.write(verdict.as_json())

        getattr(import_module(f"tests.gpu.{module}"), function)(setup, tell)


if __name__ == "__main__":
    main(*sys.argv[1:])
