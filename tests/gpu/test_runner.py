"""Steps that crash, hang or raise end with a verdict, do not stop the next one, and leave no process behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import psutil

ROOT = Path(__file__).parents[2]


def test_a_step_that_fails_does_not_stop_the_next(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.gpu.faults", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    told: dict[str, list[tuple[str, str, str]]] = {}
    for verdict in map(orjson.loads, done.stdout.splitlines()):
        told.setdefault(verdict["step"], []).append((verdict["status"], verdict["what"], verdict["measured"]))
    assert [status for status, _, _ in told["passes"]] == ["passed", "measured", "skipped"]
    assert told["passes"][2][2] == "the time of all steps, 1 s, is used up"
    assert told["crashes"][0][:2] == ("passed", "before the crash")
    assert told["crashes"][1][2].startswith("exit status -9")
    assert told["raises"][0][2] == "exit status 1: ValueError: an error of the step"
    assert told["says_nothing"][0][2] == "the step ended without a verdict"
    started, limit, _ = told["hangs"]
    assert limit == ("failed", "a step that hangs", "not done after 5 s")
    assert not psutil.pid_exists(int(started[2]))
    assert done.stderr.splitlines()[-1] == "3 passed, 4 failed, 1 skipped, 5 measured"
