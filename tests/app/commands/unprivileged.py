"""Commands as a user without privileges: root may write everywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest


def trackside(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command as this user, without the capabilities of root."""
    dropped: list[str] = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may write everywhere, and setpriv is not installed")
        dropped = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    command = [*dropped, sys.executable, "-m", "app.cli", *arguments]
    environment = {**os.environ, **environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=110)
