"""Steps with the real processes: runs through the fork server, predictions beside training, and kills."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import psutil
import pynvml

from app.host.devices import gpu_handle
from tests.app.predictor.predict_home import serving_child
from tests.benchmarks.rows import percentile
from tests.conftest import ENDLESS, NARROW, wait_for
from tests.crash.test_promise_03_dead_trainers import kill_trainer
from tests.gpu.server import CUDA_FILE, GpuServer, gpu_server, has_initialized_cuda
from tests.gpu.setup import Setup
from tests.gpu.verdict import Tell, Verdict, check
from trainer.rundir.events import walk

SHORT = {**NARROW, "epochs": 2}
UNENDING = {**NARROW, **ENDLESS, "checks": "off", "epochs": 10_000}
STEPS = 112  # of SHORT
PREDICTIONS = 200
FREED = 64 << 20  # bytes that may be missing when all memory is freed: other processes use the GPU too


@contextmanager
def worker_and_web(setup: Setup) -> Iterator[GpuServer]:
    with setup.scratch() as folder, gpu_server(folder / "home", setup.datasets) as server:
        server.start("web")
        server.start_worker(setup.device)
        yield server


def runs(setup: Setup, tell: Tell) -> None:
    """Two runs in a row: the fork server must not initialize CUDA, which does not survive a fork."""
    with worker_and_web(setup) as server:
        first = server.launch(overrides=UNENDING)
        server.wait_step(first, 1)
        trainer = wait_for(lambda: server.trainer_pid(first), what="a trainer")
        is_seen = has_initialized_cuda(trainer)
        worker = server.processes[setup.device].pid
        parents = {"worker": worker, "fork server": server.fork_server(setup.device)}
        step = server.stop_run(first)["step"]
        tell(check("the first run trains and stops", step > 0, f"step {step}", "above 0"))
        began = time.monotonic()
        second = server.launch(overrides=SHORT)
        server.wait_step(second, 1)
        tell(
            setup.compare("from launch to the first step of the second run", True, f"{time.monotonic() - began:.2f} s")
        )
        step = server.wait_status(second, "finished")["step"]
        tell(check("the second run finishes", step == STEPS, f"step {step}", f"step {STEPS}"))
        for name, pid in parents.items():
            tell(without_cuda(name, pid, is_seen))
        tell(check("one fork server started both", server.fork_server(setup.device) == parents["fork server"]))


def without_cuda(name: str, pid: int, is_seen: bool) -> Verdict:
    """`is_seen`: on this system a process that uses CUDA can be told from others."""
    what = f"the {name} never initializes CUDA"
    if not is_seen:
        return Verdict(what, "not judged", f"no trainer has {CUDA_FILE} open here")
    return check(what, not has_initialized_cuda(pid))


def predictions(setup: Setup, tell: Tell) -> None:
    with worker_and_web(setup) as server:
        server.start("predictor", TRACKSIDE_PREDICTOR_DEVICE=setup.device)
        model = server.launch(overrides=SHORT)
        server.wait_status(model, "finished")
        wait_for(lambda: server.predicts(model), what="a prediction")
        run = server.launch(overrides=UNENDING)
        server.wait_step(run, 20)
        before = server.run(run)["step"]
        latencies, wrong = timed(partial(server.predicts, model), setup.size(PREDICTIONS, 20))
        tell(check("predictions while a run trains", not wrong, f"{wrong} failed of {len(latencies)}", "none failed"))
        p50, p99 = statistics.median(latencies), percentile(latencies, 0.99)
        tell(setup.compare("time of a prediction beside training", True, f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"))
        child = serving_child(server.processes["predictor"].pid)
        os.kill(child.pid, signal.SIGKILL)
        wait_for(lambda: not psutil.pid_exists(child.pid), what="the end of the predictor's child")
        began = time.monotonic()
        wait_for(lambda: server.predicts(model), what="a prediction after the child was killed")
        tell(check("predictions after the predictor's child was killed", True, f"{time.monotonic() - began:.1f} s"))
        server.wait_step(run, before + 1)
        found = server.run(run)
        trains = found["status"] == "running" and found["attempt"] == 1
        tell(check("the run trains on meanwhile", trains, f"attempt {found['attempt']}, step {found['step']:,}"))
        server.stop_run(run)


def timed(predict: partial[bool], count: int) -> tuple[list[float], int]:
    """Return the milliseconds of each of `count` predictions, and the number of those that failed."""
    latencies, failed = [], 0
    for _ in range(count):
        began = time.perf_counter()
        failed += not predict()
        latencies.append(1000 * (time.perf_counter() - began))
    return latencies, failed


def killed(setup: Setup, tell: Tell) -> None:
    before = used_memory(setup.device)
    with worker_and_web(setup) as server:
        run = server.launch(overrides=UNENDING)
        with server.client() as client:
            wait_for(lambda: client.get(f"/api/runs/{run}/checkpoints").json(), what="a checkpoint")
        server.wait_step(run, 60)
        kill_trainer(server, run)
        found = wait_for(lambda: (now := server.run(run))["attempt"] == 2 and now["step"] and now, what="attempt 2")
        assert found
        folder = server.settings.runs / run
        started = wait_for(lambda: [event for at, event in walk(folder) if at == 2 and event["e"] == "start"])
        assert started
        step = started[0]["from_step"]
        server.wait_step(run, step + 60)
        tell(check("a killed trainer's run goes on from its checkpoint", step > 0, f"from step {step}", "above 0"))
        server.stop_run(run)
        tell(freed(setup, before))


def freed(setup: Setup, before: int | None) -> Verdict:
    """Whether the GPU's memory is free again. Waits for the ends of processes."""
    if before is None:
        return Verdict("memory of the GPU is freed", "skipped", "NVML does not say how much memory is used")
    used = before

    def is_free() -> bool:
        nonlocal used
        used = used_memory(setup.device) or 0
        return used <= before + FREED

    deadline = time.monotonic() + 20
    while not is_free() and time.monotonic() < deadline:
        time.sleep(0.1)
    measured = f"{used / 2**20:,.0f} MiB used, {before / 2**20:,.0f} MiB before"
    return setup.compare("memory of the GPU is freed", used <= before + FREED, measured, "at most 64 MiB more")


def used_memory(device: str) -> int | None:
    try:
        return int(pynvml.nvmlDeviceGetMemoryInfo(gpu_handle(device)).used)
    except pynvml.NVMLError:
        return None
