"""`make gpu` ends its steps with the right verdicts on the simulated device, where nothing is computed."""

from __future__ import annotations

import subprocess
from collections import defaultdict

import orjson
import pytest

from tests.cuda.conftest import Device
from tests.cuda.dry_run import dry_run


@pytest.mark.long
@pytest.mark.timeout(400)
def test_steps_of_make_gpu_end_with_verdicts(device: Device) -> None:
    # On a busy machine it ends by itself, with a failed verdict, and leaves no server behind.
    limited = ("--total", "350")
    done = dry_run(device, *limited, "--steps", "probe", "resume", stdout=subprocess.PIPE)
    assert done.returncode == 0, done.stdout.decode()
    statuses = defaultdict(list)
    for line in done.stdout.splitlines():
        if line.startswith(b"{"):
            verdict = orjson.loads(line)
            statuses[verdict["step"]].append(verdict["status"])
    counts = {step: (told.count("passed"), told.count("not judged")) for step, told in statuses.items()}
    assert counts == {"data": (1, 0), "probe": (6, 0), "resume": (5, 1)}
