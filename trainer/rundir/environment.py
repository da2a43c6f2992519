"""What a run was trained with: packages, processor and GPU, and the state of the user's code. Free of torch.

environment/<attempt>.json   Environment, written when an attempt starts
git.json, git.diff           GitState of the directory where `trackside train` was called, and its uncommitted changes
"""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from trainer.rundir.folder import RunDir
from trainer.system.durable import write_durably

log = logging.getLogger(__name__)

LARGEST_DIFF = 1 << 20
_GIT_SECONDS = 10.0


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Environment(_Part):
    """`gpu` and `driver` are "" on a CPU. `packages` are the installed distributions with their versions."""

    attempt: int
    system: str
    python: str
    processor: str
    cores: int
    gpu: str = ""
    driver: str = ""
    packages: dict[str, str]


class GitState(_Part):
    """`changed` counts the files with uncommitted changes; `cut` says that git.diff was too large to be kept whole."""

    commit: str
    branch: str
    changed: int
    cut: bool = False


def write_environment(run_dir: Path, environment: Environment) -> None:
    """Raises OSError (a full disk)."""
    path = RunDir(run_dir).environment(environment.attempt)
    path.parent.mkdir(exist_ok=True)
    write_durably(path, environment.model_dump_json().encode())


def read_environment(run_dir: Path, attempt: int) -> Environment | None:
    """None if there is none, or its file is damaged: runs of earlier versions have none."""
    try:
        return Environment.model_validate_json(RunDir(run_dir).environment(attempt).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def record_git(run_dir: Path, folder: Path) -> None:
    """Keep the commit of the git repository around `folder` and its uncommitted changes; nothing without one."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return
    changed = (_git(folder, "status", "--porcelain") or b"").splitlines()
    diff = _git(folder, "diff", "HEAD") or b""
    branch = _git(folder, "rev-parse", "--abbrev-ref", "HEAD") or b""
    state = GitState(
        commit=commit.decode().strip(),
        branch=branch.decode(errors="replace").strip(),
        changed=len(changed),
        cut=len(diff) > LARGEST_DIFF,
    )
    write_durably(RunDir(run_dir).git_diff, diff[:LARGEST_DIFF])
    write_durably(RunDir(run_dir).git_state, state.model_dump_json().encode())


def read_git(run_dir: Path) -> GitState | None:
    try:
        return GitState.model_validate_json(RunDir(run_dir).git_state.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _git(folder: Path, *arguments: str) -> bytes | None:
    try:
        found = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, timeout=_GIT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):  # git is not installed, or the repository is on a slow disk
        return None
    return found.stdout if found.returncode == 0 else None
