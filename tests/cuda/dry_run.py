"""`python -m tests.cuda.dry_run [OPTION…]`: a dry run of `python -m tests.gpu` on the simulated device."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.cuda import build
from tests.cuda.conftest import ROOT, Device


def dry_run(device: Device, *options: str, stdout: int | None = None) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "tests.gpu", "--dry-run", *options]
    home = {"TRACKSIDE_HOME": str(device.folder / "home")}
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **device.environment, **home}, stdout=stdout)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        done = dry_run(Device(build.build(Path(folder)), Path(folder)), *sys.argv[1:])
    sys.exit(done.returncode)
