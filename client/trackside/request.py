"""What `init` was asked for, and what a session says of itself."""

from __future__ import annotations

import os
import platform
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trackside.values import clean, one_line

# What the server accepts, in characters.
LINE, TAG, NOTES = 200, 60, 20_000
MOST_TAGS = 30


@dataclass(frozen=True)
class Wanted:
    """What `init` was asked for."""

    project: str = ""
    name: str = ""
    group: str = ""
    notes: str = ""
    tags: tuple[str, ...] = ()
    run_id: str = ""
    resume: str = "allow"
    job_type: str = ""
    command: list[str] = field(default_factory=list)  # default: that of this process
    watched: bool = False


def request_of(wanted: Wanted, session: str) -> dict[str, Any]:
    """The body of the PUT that announces a session."""
    script = {"command": _command(wanted), "host": socket.gethostname(), "pid": os.getpid()}
    script["python"] = platform.python_version()
    return {"session": session, "resume": wanted.resume, **description_of(wanted), "script": script}


def description_of(wanted: Wanted) -> dict[str, Any]:
    """Name, project, group, notes and tags, as far as there are any. What would not be accepted is shortened."""
    named = {"name": wanted.name, "project": wanted.project, "group": wanted.group}
    body: dict[str, Any] = {key: one_line(value, LINE) for key, value in named.items() if one_line(value, LINE)}
    if wanted.notes:
        body["notes"] = "\n".join(one_line(line, NOTES) for line in wanted.notes.splitlines())[:NOTES]
    tags = [one_line(tag, TAG) for tag in wanted.tags]
    if any(tags):
        body["tags"] = list(dict.fromkeys(filter(None, tags)))[:MOST_TAGS]
    return body


def system_of(wanted: Wanted) -> dict[str, Any]:
    """What the sender describes this environment from, without loading anything here."""
    return {
        "command": _command(wanted),
        "python": platform.python_version(),
        "folder": str(Path.cwd()),
        "path": [entry for entry in sys.path if entry],
        "pid": os.getpid(),
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "watched": wanted.watched,
    }


def _command(wanted: Wanted) -> list[str]:
    return [clean(word) for word in wanted.command or [sys.executable, *sys.argv]]
