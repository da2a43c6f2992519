"""What a run was trained with, and the state of the code where it was launched."""

from __future__ import annotations

import subprocess
from pathlib import Path

import torch

from tests.trainer.data.own_validation import make_uneven
from tests.trainer.test_validation import new_run, run
from trainer.rundir.environment import LARGEST_DIFF, read_environment, read_git, record_git
from trainer.rundir.folder import RunDir


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=Ann", "-c", "user.email=ann@example.org", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_each_attempt_says_what_it_was_trained_with(tmp_path: Path) -> None:
    record = make_uneven(tmp_path / "datasets", (20, 20))
    new_run(tmp_path / "run", tmp_path / "datasets", record, max_steps=2)
    run(tmp_path / "run", tmp_path / "datasets", 1, stop_at=1)
    run(tmp_path / "run", tmp_path / "datasets", 2)
    for attempt in (1, 2):
        found = read_environment(tmp_path / "run", attempt)
        assert found is not None
        assert torch.__version__.startswith(found.packages["torch"])
        assert (found.gpu, found.driver) == ("", "")
        assert found.processor
        assert found.cores >= 1
        assert list(found.packages) == sorted(found.packages, key=str.casefold)
    assert read_environment(tmp_path / "run", 3) is None


def test_the_commit_and_its_uncommitted_changes_are_kept(tmp_path: Path) -> None:
    code, folder = tmp_path / "code", tmp_path / "run"
    code.mkdir()
    folder.mkdir()
    record_git(folder, code)
    assert read_git(folder) is None
    git(code, "init", "--initial-branch=tryout")
    record_git(folder, code)  # without a commit
    assert read_git(folder) is None
    (code / "net.py").write_text("width = 64\n")
    git(code, "add", ".")
    git(code, "commit", "--message=first")
    (code / "net.py").write_text("width = 128\n")
    (code / "new.py").write_text("\n")
    (code / "inner").mkdir()
    record_git(folder, code / "inner")
    found = read_git(folder)
    assert found is not None
    assert (found.commit, found.branch, found.changed, found.cut) == (
        git(code, "rev-parse", "HEAD"),
        "tryout",
        2,
        False,
    )
    assert "+width = 128" in RunDir(folder).git_diff.read_text()


def test_a_large_diff_is_cut(tmp_path: Path) -> None:
    code, folder = tmp_path / "code", tmp_path / "run"
    code.mkdir()
    folder.mkdir()
    git(code, "init")
    (code / "data.txt").write_text("")
    git(code, "add", ".")
    git(code, "commit", "--message=first")
    (code / "data.txt").write_text("a line\n" * (LARGEST_DIFF // 7 + 1))
    record_git(folder, code)
    found = read_git(folder)
    assert found is not None
    assert found.cut
    assert RunDir(folder).git_diff.stat().st_size == LARGEST_DIFF
