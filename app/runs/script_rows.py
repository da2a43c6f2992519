"""The row of a script run, as its directory says it, and what its status and phase mean."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.runs.requests import RunPatch
from app.storage.tables import Run, Source, Status
from trainer.rundir.folder import RunDir
from trainer.rundir.journal import read_journal
from trainer.rundir.script import ScriptFacts, sessions_of

SILENT = "silent"  # the phase of a run of which nothing was heard for a while; a run stopped in it has no `end` event
UNREAD = "unread"  # the phase of an ended run that has events which no worker has read


def new_row(folder: Path) -> Run:
    """The row as it is before any event was read, with the changes that people have made since."""
    facts = ScriptFacts.model_validate_json(RunDir(folder).script.read_bytes())
    meta: dict[str, Any] = {}
    for line in read_journal(folder):
        if line.get("e") == "meta":
            meta |= line
    return Run(
        id=folder.name,
        source=Source.SCRIPT,
        status=Status.RUNNING,
        group=meta.get("group"),
        dataset="",
        model="",
        spec={},
        created_at=datetime.fromtimestamp(facts.created, UTC),
        attempt=max((one.attempt for one in sessions_of(folder)), default=1),
        name=meta.get("name") or folder.name,
        **{name: meta[name] for name in RunPatch.model_fields if name in meta and name != "name"},
    )


def is_silent(folder: Path, seconds: float) -> bool:
    """Whether the client has sent nothing for so long. True if the directory is missing."""
    try:
        heard = RunDir(folder).heard.stat().st_mtime
    except FileNotFoundError:
        return True
    return time.time() - heard > seconds


def stop_requested(status: str, phase: str | None) -> bool:
    return status == Status.STOPPING or (status == Status.STOPPED and phase == SILENT)
