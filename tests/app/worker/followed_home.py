"""A home with script runs, a worker's part that follows them, and clocks that the test sets."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import orjson
from sqlmodel import select

from app.metrics.reader import Metrics
from app.runs.runs import Runs
from app.runs.script_requests import Registered, ScriptSession
from app.runs.scripts import Scripts
from app.storage.db import Database
from app.storage.tables import Change, Run
from app.worker.followed import FollowedRuns
from tests.databases import settings_of
from trainer.rundir.folder import RunDir

T = 1_790_000_000.0


class Home:
    def __init__(self, home: Path, database: Database) -> None:
        self.settings = settings_of(home, lease_seconds=10)
        self.database = database
        self.scripts = Scripts(database, self.settings)
        self.runs = Runs(database, self.settings)
        self.now = 1000.0

    def register(self, run_id: str = "run", session: str = "a" * 8, **fields: Any) -> Registered:
        return self.scripts.register(run_id, ScriptSession(session=session, **fields))[0]

    def send(self, *events: dict[str, Any] | bytes, run_id: str = "run", session: str = "a" * 8) -> None:
        """Append events, or lines that are none, as the client does."""
        known = RunDir(self.settings.runs / run_id)
        attempt = self.scripts.register(run_id, ScriptSession(session=session))[0].attempt
        lines = (line if isinstance(line, bytes) else orjson.dumps({"t": T, **line}) for line in events)
        body = b"".join(line + b"\n" for line in lines)
        self.scripts.append(run_id, session, known.events(attempt).stat().st_size, body)

    def worker(self, name: str = "cpu/1/0") -> FollowedRuns:
        return FollowedRuns(self.settings, self.database, name)

    def follow(self, followed: FollowedRuns, seconds: float = 2.0) -> None:
        """Let time pass: by then, all that was sent has been read."""
        self.now += seconds
        for _ in range(200):
            followed.tick(self.now, changed=True)
        self.now += 2
        followed.tick(self.now, changed=True)

    def row(self, run_id: str = "run") -> Run:
        with self.database.read() as session:
            return session.exec(select(Run).where(Run.id == run_id)).one()

    def values(self, name: str, run_id: str = "run") -> list[tuple[int, float | None]]:
        series = Metrics(self.database).read(run_id, [name], 100_000)["series"].get(name)
        return [] if series is None else list(zip(series["step"], series["value"], strict=True))

    def changes(self, kind: str) -> list[Any]:
        with self.database.read() as session:
            rows = session.exec(select(Change).where(Change.kind == kind).order_by(Change.seq)).all()  # type: ignore[arg-type]
        return [orjson.loads(row.payload) for row in rows]

    def silence(self, seconds: float, run_id: str = "run") -> None:
        """Set the time at which the client was heard of last."""
        then = time.time() - seconds
        os.utime(RunDir(self.settings.runs / run_id).heard, (then, then))


def metrics(step: int, t: float = T, **values: Any) -> dict[str, Any]:
    return {
        "e": "metrics",
        "t": t,
        "step": step,
        "v": {name.replace("__", "/"): value for name, value in values.items()},
    }


def start(from_step: int = 0, session: str = "a" * 8) -> dict[str, Any]:
    return {"e": "start", "from_step": from_step, "session": session}


def end(status: str = "finished", **fields: Any) -> dict[str, Any]:
    return {"e": "end", "status": status, **fields}
