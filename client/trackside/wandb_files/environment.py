"""What W&B knows of a script's environment, as the client would describe it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trackside.imports.protobuf import as_bytes, as_text, fields, signed
from trackside.values import to_json
from trackside.wandb_files.values import texts

TEXTS = {1: "os", 2: "python", 6: "program", 11: "root", 12: "host", 14: "executable", 18: "gpu"}
NUMBERS = {16: "cpu_count", 17: "cpu_count_logical", 19: "gpu_count"}
ARGUMENTS, GIT, CPU, NVIDIA = 5, 9, 22, 24  # other fields of the record
DIFF_LIMIT = 256 << 10  # characters


def read_record(known: dict[str, Any], data: bytes) -> None:
    """Add the fields of an environment record, under the names of wandb-metadata.json. Raises Malformed."""
    arguments: list[str] = []
    for field, value in fields(data):
        if field in TEXTS:
            known[TEXTS[field]] = as_text(value)
        elif field in NUMBERS:
            known[NUMBERS[field]] = signed(value)
        elif field == ARGUMENTS:
            arguments.append(as_text(value))
        elif field == GIT:
            read_git(known, as_bytes(value))
        elif field == CPU:
            known["cpu"] = texts(as_bytes(value), 3)[0]
        elif field == NVIDIA:
            known.setdefault("gpus", []).extend(texts(as_bytes(value), 1))
    if arguments:
        known["args"] = arguments


def read_git(known: dict[str, Any], data: bytes) -> None:
    """Raises Malformed."""
    remote, commit = texts(data, 1, 2)
    known["git"] = {"remote": remote, "commit": commit}


def environment_of(known: dict[str, Any], files: Path) -> dict[str, Any]:
    """`known` is what the records say; what they lack is taken from the files of the run."""
    known = {**_metadata(files), **{name: value for name, value in known.items() if value}}
    program, arguments = known.get("program"), known.get("args")
    words = [known.get("executable") or "python", program] if program else []
    found: dict[str, Any] = {
        "command": [str(word) for word in words + (arguments if isinstance(arguments, list) else [])],
        "folder": known.get("root"),
        "python": str(known.get("python") or "").rpartition(" ")[2],  # "CPython 3.11.7"
        "host": known.get("host"),
        "platform": known.get("os"),
        "cpu": known.get("cpu") if isinstance(known.get("cpu"), str) else None,
        "cores": known.get("cpu_count_logical") or known.get("cpu_count"),
        "gpus": known.get("gpus") or _repeated(known.get("gpu"), known.get("gpu_count")),
        "packages": _packages(files / "requirements.txt"),
        "git": _git(known.get("git"), files / "diff.patch"),
    }
    return {name: to_json(value) for name, value in found.items() if value}


def _metadata(files: Path) -> dict[str, Any]:
    try:
        found = json.loads((files / "wandb-metadata.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _repeated(name: Any, count: Any) -> list[str]:
    return [name] * (count if isinstance(count, int) and 0 < count < 100 else 1) if isinstance(name, str) else []


def _packages(path: Path) -> dict[str, str]:
    pairs = (line.partition("==") for line in _lines(path))
    return {name.strip(): version.strip() for name, mark, version in pairs if mark}


def _git(known: Any, patch: Path) -> dict[str, Any]:
    if not isinstance(known, dict) or not known.get("commit"):
        return {}
    diff = "".join(_lines(patch))
    return {
        "commit": str(known["commit"]),
        "remote": str(known.get("remote") or ""),
        "dirty": bool(diff),
        "diff": diff[:DIFF_LIMIT],
        "diff_truncated": len(diff) > DIFF_LIMIT,
    }


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines(keepends=True)
    except OSError:
        return []
