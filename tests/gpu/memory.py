"""Out of memory three ways: a batch that does not fit, another process that holds the memory, and an evaluation."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.conftest import NARROW
from tests.gpu.cases import EAGER, Case, train_case
from tests.gpu.processes import worker_and_web
from tests.gpu.server import GpuServer
from tests.gpu.setup import Setup
from tests.gpu.verdict import Tell, Verdict, check

FITS = {**NARROW, **EAGER, "max_steps": 20}
TOO_LARGE = {**EAGER, "model.name": "wrn-28-10", "model.input_size": 224, "batch_size": 3000, "max_steps": 2}
WIDE = {
    **EAGER,
    "model.name": "wrn-28-10",
    "model.input_size": 64,
    "batch_size": 8,
    "max_steps": 2,
    "optimizer.name": "sgd",
}
WIDE_BYTES = 1792 << 20  # enough to train WIDE, not to evaluate 500 images at once
LEFT = 300 << 20  # bytes that the other process leaves, less than a process needs to begin


def memory(setup: Setup, tell: Tell) -> None:
    batch, held = "a batch that does not fit", "memory that another process holds"
    with worker_and_web(setup) as server:
        tell(next_run(server, "a run that fits"))  # the worker has tried its device by then
        code, named = failure(server, TOO_LARGE)
        tell(check(f"{batch}: the run fails in words", named, code, "out_of_memory"))
        tell(next_run(server, f"{batch}: the next run"))
        with memory_held(setup):
            code, named = failure(server, FITS)
        # The simulated device has as much memory for each process.
        tell(setup.compare(f"{held}: the run fails in words", named, code, "out_of_memory"))
        tell(next_run(server, f"{held}: the next run"))
    tell(halved_evaluation(setup))


def failure(server: GpuServer, overrides: dict[str, Any]) -> tuple[str, bool]:
    """Return the code of a run's error, and whether the message says what to do about a lack of memory."""
    run = server.wait_status(server.launch(overrides=overrides), "failed", "finished")
    error = run["error"] or {"code": "no error", "message": ""}
    return error["code"], error["code"] == "out_of_memory" and "batch_size" in error["message"]


def next_run(server: GpuServer, what: str) -> Verdict:
    step = server.wait_status(server.launch(overrides=FITS), "finished")["step"]
    return check(f"{what} finishes", step == FITS["max_steps"], f"step {step}", f"step {FITS['max_steps']}")


@contextmanager
def memory_held(setup: Setup) -> Iterator[None]:
    """Another process holds the memory of the device, except for LEFT bytes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.gpu.memory", setup.device, str(LEFT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"held\n"
        yield
    finally:
        process.kill()
        process.wait()


def hold(device: str, left: int) -> None:
    """Hold the device's memory until standard input is closed."""
    torch.cuda.set_device(device)
    held = [torch.empty(max(0, torch.cuda.mem_get_info()[0] - left), dtype=torch.uint8, device=device)]
    sys.stdout.write("held\n")
    sys.stdout.flush()
    sys.stdin.read()
    held.clear()


def halved_evaluation(setup: Setup) -> Verdict:
    total = torch.cuda.mem_get_info(setup.device)[1]
    torch.cuda.set_per_process_memory_fraction(WIDE_BYTES / total, setup.device)
    with setup.scratch() as folder:
        ended = train_case(folder / "wide", setup.datasets, Case("wide", WIDE, device=setup.device))
    refused = torch.cuda.memory_stats(setup.device)["num_ooms"]
    measured = f"{ended.splitlines()[0][:200]}, memory was refused {refused} times"
    passed = ended == "finished" and refused > 0
    return check("an evaluation that does not fit is halved", passed, measured, "finished, at least once")


if __name__ == "__main__":
    hold(sys.argv[1], int(sys.argv[2]))
