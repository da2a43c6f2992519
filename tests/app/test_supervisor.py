"""How `serve` ends its children."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from app.host.child import Child
from app.settings import Settings
from app.supervisor import Supervisor
from tests.conftest import wait_for

# Says when it was asked to end, and when it ended, half a second later.
SLOW = """
import pathlib, signal, sys, time
folder, asked = pathlib.Path(sys.argv[1]), []
signal.signal(signal.SIGTERM, lambda *_: asked.append(time.monotonic()))
(folder / "ready").touch()
while not asked:
    time.sleep(0.01)
time.sleep(0.5)
(folder / "times").write_text(f"{asked[0]} {time.monotonic()}")
"""


def test_workers_are_stopped_together_after_the_web_process_and_before_the_predictor(tmp_path: Path) -> None:
    names = ["web", "worker cpu:0", "worker cpu:1", "worker cpu:2", "predictor"]
    children = []
    for name in names:
        folder = tmp_path / name
        folder.mkdir()
        children.append(Child(name, [], subprocess.Popen([sys.executable, "-c", SLOW, str(folder)])))
        wait_for((folder / "ready").exists, 30, f"{name} to run")
    Supervisor(Settings(home=tmp_path), children).end()
    assert [child.process.returncode for child in children if child.process] == [0] * 5
    times = [tuple(map(float, (tmp_path / name / "times").read_text().split())) for name in names]
    (_, web_ended), *workers, (predictor_asked, _) = times
    assert web_ended <= min(asked for asked, _ in workers)
    assert max(asked for asked, _ in workers) < min(ended for _, ended in workers)
    assert max(ended for _, ended in workers) <= predictor_asked
