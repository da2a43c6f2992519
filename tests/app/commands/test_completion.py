from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.databases import home_environment


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("trackside re", {"restore", "reindex"}),
        ("trackside train --preset baseline-m", {"baseline-mlp"}),
        ("trackside train --dataset sha", {"shapes100"}),
        ("trackside train --set optimizer.lr", {"optimizer.lr="}),
    ],
)
def test_the_shell_completes_commands_and_their_values(
    words: str, offered: set[str], tmp_path: Path, shapes: Path
) -> None:
    (tmp_path / "datasets").symlink_to(shapes)
    asked = {"_TRACKSIDE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    script = Path(sys.executable).with_name("trackside")
    environment = {**os.environ, **asked, **home_environment(tmp_path)}
    done = subprocess.run([script], env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert set(done.stdout.split()) == offered
