"""The directory of a script run: what it was created with, and its sessions. Free of torch.

A session is one execution of the script. Its events are the file of one attempt, which is always the first bytes of the
spool file that the client keeps: so the client knows by a number of bytes what was received.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from trainer.rundir.folder import RunDir
from trainer.rundir.journal import journal
from trainer.system.durable import append_durably, placed_folder, sync_folder, write_durably
from trainer.system.locks import lock_descriptor


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Session(_Facts):
    """`config` and `script` are what the client said of it; `time` is when the server first heard of it."""

    session: str
    attempt: int
    time: float
    config: dict[str, Any] = {}
    script: dict[str, Any] = {}


class ScriptFacts(_Facts):
    """script.json. The name, tags and what else people change later are in the journal."""

    id: str
    created: float


def create_script_dir(run_dir: Path, facts: ScriptFacts, first: Session, meta: dict[str, Any]) -> None:
    """Create the run's directory in one step; it is durable when this returns. Raises FileExistsError."""
    with placed_folder(run_dir) as fresh:
        run = RunDir(fresh)
        for folder in (run.events_folder, run.logged_files):
            folder.mkdir()
        write_durably(run.script, facts.model_dump_json().encode())
        journal(fresh, "meta", **meta)
        add_session(fresh, first)
        write_durably(run.committed, b"")


def add_session(run_dir: Path, session: Session) -> None:
    """Append a session, and create the file of its events; both are durable when this returns."""
    run = RunDir(run_dir)
    # The file first: a session that is known has one, also if this process is killed in between.
    run.events(session.attempt).touch()
    sync_folder(run.events_folder)
    append_durably(run.sessions, orjson.dumps(session.model_dump(), option=orjson.OPT_APPEND_NEWLINE))
    run.heard.touch()


def sessions_of(run_dir: Path) -> list[Session]:
    """Return the sessions in the order of their attempts. A line left incomplete by a crash is skipped."""
    found = []
    for line in RunDir(run_dir).sessions.read_bytes().splitlines():
        try:
            found.append(Session.model_validate_json(line))
        except ValidationError:
            continue
    return found


@contextmanager
def appending(run_dir: Path) -> Iterator[None]:
    """Be the only one that writes to the run's sessions and events. Raises FileNotFoundError: it was deleted."""
    fd = os.open(RunDir(run_dir).append_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        lock_descriptor(fd, wait=True)
        yield
    finally:
        os.close(fd)
