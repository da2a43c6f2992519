"""`python -m tests.gpu.faults FOLDER`: steps that pass, crash, hang and say nothing, for the test of the runner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.gpu.report import Report
from tests.gpu.runner import run_steps
from tests.gpu.setup import Setup
from tests.gpu.steps import Step
from tests.gpu.verdict import Tell, check

WAIT = "import sys; sys.stdin.read()"
STEPS = [Step(name, "faults", f"a step that {name}", 60) for name in ("passes", "crashes", "raises", "says_nothing")]


def passes(setup: Setup, tell: Tell) -> None:
    print("not a verdict")
    tell(check("a check", True, "1", "1"))


def crashes(setup: Setup, tell: Tell) -> None:
    tell(check("before the crash", True))
    os.kill(os.getpid(), signal.SIGKILL)


def raises(setup: Setup, tell: Tell) -> None:
    raise ValueError("an error of the step")


def says_nothing(setup: Setup, tell: Tell) -> None:
    print("not a verdict")


def hangs(setup: Setup, tell: Tell) -> None:
    """Wait for a process in a session of its own, as those of a server are."""
    process = subprocess.Popen([sys.executable, "-c", WAIT], stdin=subprocess.PIPE, start_new_session=True)
    tell(check("a process", True, f"{process.pid}"))
    process.wait()


if __name__ == "__main__":
    report, made = Report(), Setup(Path(sys.argv[1]))
    run_steps([*STEPS, Step("hangs", "faults", "a step that hangs", 5)], made, report)
    run_steps([Step("passes", "faults", "a step without time", 60)], made, report, total=1)
    sys.stderr.write("\n".join(report.summary()))
    sys.exit(report.failed)
