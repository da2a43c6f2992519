"""What `serve --cluster` and `join` refuse, in one line."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from app.cluster.ray_process import token_file


def run(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TRACKSIDE_HOME": str(home)}
    command = [sys.executable, "-m", "app.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100, check=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["serve", "--port", "0", "--cluster"], "--listen 10.0.0.5:6379"),
        (["serve", "--port", "0", "--cluster", "--listen", "here:there"], "is not an address to listen on"),
        (["join", "10.0.0.5:70000"], "is not the address of a cluster"),
        (["join", "10.0.0.5:6379", "--token-file", "nowhere"], "copy the file cluster-token"),
    ],
)
def test_a_refusal_is_one_line(tmp_path: Path, words: list[str], said: str) -> None:
    done = run(tmp_path / "home", *words)
    assert done.returncode == 1
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_name_that_cannot_be_a_node_is_refused(tmp_path: Path) -> None:
    token = token_file(tmp_path)
    done = run(
        tmp_path, "join", "10.0.0.5:6379", "--token-file", str(token), "--folder", str(tmp_path), "--name", "a/b"
    )
    assert done.returncode == 1
    assert "cannot be the name of a node" in " ".join(done.stderr.split())


def test_the_token_is_kept_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = token_file(tmp_path)
    first = path.read_text()
    assert len(first) == 64
    assert token_file(tmp_path).read_text() == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
