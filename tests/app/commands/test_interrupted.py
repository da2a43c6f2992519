"""Ctrl-C ends a command without a traceback, and `--version`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import main
from tests.conftest import NARROW, wait_for
from tests.databases import ON_POSTGRES, home_environment

NARROW_SETTINGS = [item for name, value in NARROW.items() for item in ("--set", f"{name}={value}")]


def test_the_version_is_printed() -> None:
    ended = CliRunner().invoke(main, ["--version"])
    assert (ended.exit_code, ended.output) == (0, f"trackside {version('trackside')}\n")


def interrupted(home: Path, started: Path | str, *arguments: str) -> tuple[int, str]:
    """Interrupt a command once `started` matches a file in the home; return its exit status and what it printed."""
    environment = {**os.environ, **home_environment(home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "app.cli", *arguments]
    output = home.with_suffix(".log")
    with output.open("wb") as written:
        process = subprocess.Popen(command, env=environment, stdout=written, stderr=written, start_new_session=True)
    wait_for(lambda: any(home.glob(str(started))) or process.poll() is not None, 100, "the start of the command")
    assert process.poll() is None, output.read_text()
    os.killpg(process.pid, signal.SIGINT)
    return process.wait(100), output.read_text()


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("started", "arguments", "statuses"),
    [
        ("datasets/.*", ["datasets", "add", "shapes100"], {130}),
        (
            "runs/*/events/1.jsonl",
            ["train", "--preset", "baseline-cnn", "--dataset", "shapes100", *NARROW_SETTINGS],
            {2, 130},
        ),
        ("home-id" if ON_POSTGRES else "trackside.db-wal", ["serve", "--port", "0", "--workers", "0"], {0, 130}),
    ],
)
def test_ctrl_c_leaves_no_traceback(
    tmp_path: Path, shapes: Path, started: str, arguments: list[str], statuses: set[int]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    if arguments[0] != "datasets":
        (home / "datasets").symlink_to(shapes)
    status, said = interrupted(home, started, *arguments)
    assert "Traceback" not in said
    assert "KeyboardInterrupt" not in said
    assert status in statuses
