"""The environment of a script: packages, git, processor, GPUs."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import subprocess
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from trackside.sender.gpus import Gpus
from trackside.values import clean

DIFF_LIMIT = 256 << 10  # characters
GIT_SECONDS = 20.0
ASK = "import json, sys; print(json.dumps([sys.version.split()[0], sys.path]))"


def describe(system: dict[str, Any]) -> dict[str, Any]:
    """`system` is what the session's facts hold. Takes tenths of a second."""
    command = [clean(str(word)) for word in system.get("command", [])]
    python, path = str(system.get("python") or ""), [str(entry) for entry in system.get("path", [])]
    if system.get("watched"):
        python, path = _python_of(command, str(system.get("folder") or ".")) or (python, path)
    described: dict[str, Any] = {
        "command": command,
        "folder": str(system.get("folder", "")),
        "python": python,
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cpu": processor_name(),
        "cores": os.cpu_count(),
        "gpus": Gpus(system.get("gpus")).names(),
        "packages": packages_on(path),
    }
    if os.environ.get("TRACKSIDE_GIT", "1") != "0":
        git = git_of(str(system.get("folder") or "."))
        if git is not None:
            described["git"] = git
    return described


def _python_of(command: list[str], folder: str) -> tuple[str, list[str]] | None:
    """Version and search path of the Python that a watched command runs in, if it does."""
    program = shutil.which(command[0]) if command else None
    if program is None:
        return None
    if not Path(program).name.startswith("python"):
        with open(program, "rb") as file:  # noqa: PTH123
            words = file.readline(500).decode("utf-8", "replace").strip().removeprefix("#!").split()
        program = words[0] if words and "python" in words[0] else None
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "-c", ASK], cwd=folder, capture_output=True, timeout=GIT_SECONDS, stdin=subprocess.DEVNULL
        )
        version, path = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return str(version), [str(entry) for entry in path if entry]


def packages_on(path: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in distributions(path=path):
        try:
            found.setdefault(item.metadata["Name"], item.version)
        except (KeyError, TypeError, OSError):  # a damaged installation
            continue
    return dict(
        sorted(((name, version) for name, version in found.items() if name), key=lambda pair: pair[0].casefold())
    )


def git_of(folder: str) -> dict[str, Any] | None:
    """Commit, branch, remote and uncommitted changes of the repository around `folder`; None without one."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    diff = _git(folder, "diff", "--no-color", "--no-ext-diff", "HEAD") or ""
    return {
        "commit": commit.strip(),
        "branch": (_git(folder, "rev-parse", "--abbrev-ref", "HEAD") or "").strip(),
        "remote": _without_password((_git(folder, "config", "--get", "remote.origin.url") or "").strip()),
        "dirty": bool(diff),
        "diff": clean(diff[:DIFF_LIMIT]),
        "diff_truncated": len(diff) > DIFF_LIMIT,
    }


def processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), platform.processor())


def _git(folder: str, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", folder, *words], capture_output=True, timeout=GIT_SECONDS, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def _without_password(remote: str) -> str:
    scheme, mark, rest = remote.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else remote
