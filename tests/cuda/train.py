"""`python -m tests.cuda.train FOLDER DATASETS CASES`: train runs in this process, one after the other.

CASES is a JSON list of Case. The log gets the marks "run NAME" before each attempt, "step" at the start of each step,
and "metrics STEP" when values are recorded. Prints as JSON how each run ended, by name.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import orjson

from tests.gpu.cases import Case, Watcher, train_case


class Marks(Watcher):
    def began(self, name: str) -> None:
        mark(f"run {name}")

    def step(self, number: int) -> None:
        mark("step")

    def metrics(self, step: int) -> None:
        mark(f"metrics {step}")


def mark(text: str) -> None:
    ctypes.CDLL(os.environ["LD_PRELOAD"]).fake_cuda_mark(text.encode())


if __name__ == "__main__":
    runs, given = Path(sys.argv[1]), Path(sys.argv[2])
    cases = [Case(**entry) for entry in orjson.loads(sys.argv[3])]
    sys.stdout.buffer.write(
        orjson.dumps({case.name: train_case(runs / case.name, given, case, Marks()) for case in cases})
    )
