from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module", ["app.main", "app.worker", "app.supervisor", "app.cli", "trainer.spec.train_spec", "trainer.rundir.lock"]
)
def test_torch_stays_unloaded(module: str) -> None:
    script = f"import sys, {module}; sys.exit(int('torch' in sys.modules or 'torchvision' in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0
