"""`python -m tests.benchmarks.public_scripts`: the client with scripts written for wandb, and what it costs a loop.

Lightning, transformers and keras are no dependencies of Trackside: `--libraries DIR` is a folder in which
`pip install --target DIR --no-deps` has put them. Scripts whose library is missing are skipped.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.client.protocol_server import KnownRun, ProtocolServer

SCRIPTS = Path(__file__).parent / "scripts"
ROOT = Path(__file__).parents[2]
# Each script with the library that it needs, and series that its run must have.
EXPECTED = {
    "plain": ("torch", ["train/loss", "epoch", "val/acc"]),
    "timm_style": ("torch", ["epoch", "train_loss", "eval_loss", "eval_top1", "lr"]),
    "with_lightning": ("lightning", ["train/loss", "val/loss", "epoch"]),
    "with_transformers": ("transformers", ["train/loss", "train/learning_rate", "eval/loss"]),
    "with_keras": ("keras", ["loss", "accuracy", "val_loss", "val_accuracy"]),
}
# A step that computes for 10 ms and logs three values, as a small model on a GPU does; with and without the client.
LOOP = """
import sys, time
logs = sys.argv[1] == "logs"
if logs:
    import trackside
    run = trackside.init()
def step():
    until = time.process_time() + 0.01
    while time.process_time() < until: pass
began, spent = time.perf_counter(), 0.0
for i in range(300):
    step()
    a = time.perf_counter()
    if logs: run.log({"train/loss": 1 / (i + 1), "train/acc": i / 300, "lr": 0.1})
    spent += time.perf_counter() - a
print(100 * spent / (time.perf_counter() - began))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--libraries", type=Path)
    asked = parser.parse_args()
    failed = False
    for name, (library, series) in EXPECTED.items():
        if not _has(library, asked.libraries):
            print(f"{name:18} skipped: {library} is not installed")
            continue
        problem = run_script(name, series, asked.libraries)
        failed = failed or bool(problem)
        print(f"{name:18} {problem or 'as expected'}")
    print(f"share of a loop that log takes: {loop_overhead():.3f}%")
    sys.exit(1 if failed else 0)


def run_script(name: str, series: list[str], libraries: Path | None) -> str:
    """Run a script against a server of its own, and return what is wrong, if anything is."""
    server = ProtocolServer()
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, str(SCRIPTS / f"{name}.py")], cwd=folder, env=_environment(server, libraries),
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        if done.returncode:
            return f"exit code {done.returncode}\n{done.stderr[-3000:]}"
        print(f"{name:18} {time.monotonic() - began:.1f} s")
    server.stop()
    (run,) = server.runs.values()
    missing = [one for one in series if not run.points(one)]
    return f"without {', '.join(missing)}: has {', '.join(_names(run))}" if missing else _end_problem(run)


def loop_overhead() -> float:
    """Percent of the time of a loop that is spent in `log`."""
    server = ProtocolServer()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", LOOP, "logs"]
        done = subprocess.run(
            command, cwd=folder, env=_environment(server, None), capture_output=True, text=True, check=True
        )
    server.stop()
    return float(done.stdout)


def _names(run: KnownRun) -> list[str]:
    return sorted({name for event in run.events("metrics") for name in event["v"]})


def _end_problem(run: KnownRun) -> str:
    ends = [event["status"] for event in run.events("end")]
    return "" if ends == ["finished"] else f"ended as {ends}"


def _environment(server: ProtocolServer, libraries: Path | None) -> dict[str, str]:
    path = [str(ROOT / "client"), *([str(libraries)] if libraries else [])]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRACKSIDE_")}
    offline = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return {**kept, **offline, "TRACKSIDE_URL": server.url, "PYTHONPATH": os.pathsep.join(path)}


def _has(library: str, libraries: Path | None) -> bool:
    return importlib.util.find_spec(library) is not None or bool(libraries and (libraries / library).is_dir())


if __name__ == "__main__":
    main()
