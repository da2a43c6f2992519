"""Runs each step in a process of its own, under a time limit, and ends whatever it leaves behind."""

from __future__ import annotations

import ctypes
import subprocess
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO

import orjson
import psutil

from tests.gpu.report import Report
from tests.gpu.setup import Setup
from tests.gpu.step import command_of
from tests.gpu.steps import Step
from tests.gpu.verdict import Verdict, check, measurement, skipped

ROOT = Path(__file__).parents[2]
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
LAST_LINES = 25
DRY_RUN_FACTOR = 5  # of the time limits: the simulated device is for machines without a GPU, and with few cores
ROUNDS = 2  # a process that is killed may have started another one just before
LEAST_SECONDS = 5.0  # with less left of the whole, a step is not begun


def run_steps(
    steps: Iterable[Step], setup: Setup, report: Report, *, seconds: float | None = None, total: float | None = None
) -> None:
    """Run the steps one after the other. `seconds` replaces each step's own limit; `total` limits all together."""
    _adopt_orphans()
    began = time.monotonic()
    for step in steps:
        left = float("inf") if total is None else total - (time.monotonic() - began)
        if left < LEAST_SECONDS:
            report.add(step.name, skipped(step.title, f"the time of all steps, {total:g} s, is used up"))
        elif step.needs_cifar and not setup.has_cifar:
            report.add(step.name, skipped(step.title, "no CIFAR-100 is given: --data DIR"))
        else:
            run_step(step, setup, report, min(left, seconds or setup.size(1, DRY_RUN_FACTOR) * step.seconds))


def run_step(step: Step, setup: Setup, report: Report, limit: float) -> None:
    began = time.monotonic()
    log = setup.folder / f"{step.name}.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command_of(step, setup),
            cwd=ROOT,
            env=setup.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdout is not None
    told: list[Verdict] = []
    reader = threading.Thread(target=_read, args=(process.stdout, step, report, told))
    reader.start()
    try:
        process.wait(limit)
    except subprocess.TimeoutExpired:
        report.add(step.name, check(step.title, False, f"not done after {limit:.0f} s", "", _end_of(log)))
    else:
        if process.returncode:
            lines = _end_of(log)
            reason = next((line for line in reversed(lines) if line.strip()), "no output")
            report.add(step.name, check(step.title, False, f"exit status {process.returncode}: {reason}", "", lines))
    finally:  # after Ctrl-C too
        process.kill()
        process.wait()
        end_children()
        reader.join()
    if not told and process.returncode == 0:
        report.add(step.name, check(step.title, False, "the step ended without a verdict", "", _end_of(log)))
    report.add(step.name, measurement("time of the step", f"{time.monotonic() - began:.1f} s of {limit:.0f} s"))


def end_children() -> None:
    """Kill what this process has started, directly or not, and wait for its end."""
    for _ in range(ROUNDS):
        children = psutil.Process().children(recursive=True)
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, 10)


def _adopt_orphans() -> None:
    """Become the parent of processes whose own parent ends, as trainers of a fork server that was killed."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _read(verdicts: IO[bytes], step: Step, report: Report, told: list[Verdict]) -> None:
    for line in verdicts:
        verdict = Verdict(**orjson.loads(line))
        told.append(verdict)
        report.add(step.name, verdict)


def _end_of(log: Path) -> list[str]:
    return log.read_text("utf-8", "replace").splitlines()[-LAST_LINES:]
