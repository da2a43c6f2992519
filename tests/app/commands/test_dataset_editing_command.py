"""`trackside datasets rename` and `delete`, without a server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import main
from app.runs.launching import Launcher
from app.runs.requests import NewRun
from app.runs.runs import Runs
from tests.conftest import runs_in
from tests.databases import home_environment

CLI = CliRunner()


@pytest.fixture
def home(tmp_path: Path, shapes: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in home_environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    shutil.copytree(shapes / "shapes100", tmp_path / "datasets" / "shapes100")
    return tmp_path


@pytest.fixture
def runs(home: Path, shapes: Path) -> Iterator[Runs]:
    (home / "datasets").rename(home / "own")
    with runs_in(home, shapes) as runs:
        (home / "datasets").unlink()
        (home / "own").rename(home / "datasets")
        yield runs


def test_a_dataset_is_renamed_then_deleted(home: Path) -> None:
    renamed = CLI.invoke(main, ["datasets", "rename", "shapes100", "forms"])
    assert (renamed.exit_code, renamed.output) == (0, "Renamed shapes100 to forms.\n")
    assert "forms:" in CLI.invoke(main, ["datasets", "list"]).output
    asked = CLI.invoke(main, ["datasets", "delete", "forms"], input="n\n")
    assert asked.exit_code == 1
    assert "used by 0 runs" in asked.output
    assert (home / "datasets" / "forms").exists()
    deleted = CLI.invoke(main, ["datasets", "delete", "forms", "--yes"])
    assert deleted.exit_code == 0, deleted.output
    assert "MB freed" in deleted.output
    assert list((home / "datasets").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["delete", "none", "--yes"], "no dataset called 'none'"),
        (["rename", "none", "other"], "no dataset called 'none'"),
        (["rename", "shapes100", "a b"], "letters, digits"),
    ],
)
def test_what_cannot_be_done_is_said(home: Path, arguments: list[str], message: str) -> None:
    result = CLI.invoke(main, ["datasets", *arguments])
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_dataset_in_use_is_kept(runs: Runs, home: Path) -> None:
    request = {"dataset": "shapes100", "preset": "baseline-cnn", "name": "in line"}
    Launcher(runs.database, runs.settings).create(NewRun.model_validate(request))
    for arguments in (["delete", "shapes100", "--yes"], ["rename", "shapes100", "other"]):
        result = CLI.invoke(main, ["datasets", *arguments])
        assert result.exit_code == 1
        assert "in line" in result.output
    assert (home / "datasets" / "shapes100").exists()
