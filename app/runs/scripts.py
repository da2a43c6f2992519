"""Runs of people's own scripts: a client registers a session, then sends its events, which are appended to a file.

Nothing is read here of what is sent: workers do that (app/worker/followed.py).
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, func, select

from app.errors import ApiError, not_found
from app.runs.public import publish_run
from app.runs.script_requests import Received, Registered, ScriptSession
from app.runs.script_rows import SILENT, UNREAD, new_row, stop_requested
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import ENDED, Run, ScriptRecord, Series, Source, Status
from app.storage.transitions import guarded_update, move
from trainer.rundir import script
from trainer.rundir.event_shapes import SCRIPT_SHAPES
from trainer.rundir.events import Position, walk
from trainer.rundir.folder import RunDir
from trainer.rundir.script import ScriptFacts
from trainer.system.durable import sync_folder

MOST_SESSIONS = 10_000


class Scripts:
    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    def register(self, run_id: str, request: ScriptSession) -> tuple[Registered, bool]:
        """Add a session to a run, which is created if need be; a known session is only looked up.

        Returns whether the run was created. Raises ApiError 404: the run must exist and does not; 409: it must not
        exist, or it is a run of Trackside's own trainer.
        """
        created = False
        folder = self._folder(run_id)
        if not RunDir(folder).committed.exists():
            if request.resume == "must":
                raise not_found("run", run_id)
            created = self._create(folder, request)
        if not RunDir(folder).script.exists():
            raise ApiError(409, "not_a_script", "This run is trained by Trackside: a script cannot log to it.")
        session = self._session(folder, request)
        with self._database.write() as database_session:
            row = self._row(database_session, folder)
            if row.attempt < session.attempt:
                self._begin_attempt(database_session, row, session.attempt)
            last_step = database_session.exec(select(func.max(Series.last_step)).where(Series.run == row.key)).one()
            read = Position(row.tail_attempt or 0, row.tail_offset or 0)
        last_steps = [-1 if last_step is None else last_step]
        if session.attempt > 1:  # a session that resumes has to know what no worker has read yet, too
            last_steps.append(last_unread_step(folder, read))
        return Registered(
            id=run_id,
            name=row.name,
            url=f"/runs/{run_id}",
            attempt=session.attempt,
            offset=_durable_size(RunDir(folder).events(session.attempt)),
            last_step=max(last_steps),
            stop=row.attempt == session.attempt and stop_requested(row.status, row.phase),
        ), created

    def append(self, run_id: str, session: str, offset: int, body: bytes) -> Received:
        """Append `body`, the bytes of the session's events from `offset` on, unless the server has them already.

        An empty body only says that the script is alive. Raises ApiError 404: there is no such run or session; 409:
        bytes are missing before `offset`, or differ from those that were sent earlier, or a newer session has taken the
        run over; 413: the session has too many bytes; 422: the body does not end with a line.
        """
        self._status(run_id)
        if body and not body.endswith(b"\n"):
            raise ApiError(422, "incomplete_line", "The body must end with a complete line.")
        folder = self._folder(run_id)
        try:
            with script.appending(folder):
                run = RunDir(folder)
                path = run.events(_attempt_of(folder, session))
                size = path.stat().st_size
                fresh = _new_bytes(path, size, offset, body)
                if size + len(fresh) > self._settings.max_script_events_bytes:
                    raise ApiError(413, "too_many_events", "This session has logged more than the server keeps.")
                _append(path, fresh, durably=b'"end"' in body)
                run.heard.touch()
        except FileNotFoundError:
            raise not_found("run", run_id) from None
        status, phase = self._status(run_id)  # after the bytes are there: a worker lets go of a run it has read
        if status in ENDED and (fresh or phase == SILENT):
            status, phase = self._wake(run_id)
        return Received(offset=size + len(fresh), stop=stop_requested(status, phase))

    def has_file(self, run_id: str, sha256: str) -> bool:
        """Whether the file has arrived. Raises ApiError 404: there is no such run; 409: it is not a script's."""
        self._status(run_id)
        return RunDir(self._folder(run_id)).logged_file(sha256).is_file()

    def keep_file(self, run_id: str, sha256: str, received: str, path: Path) -> None:
        """Move a file that was received, with the hash `received`, to the run. Raises ApiError 404, 409, 422."""
        if received != sha256:
            raise ApiError(422, "other_hash", "The bytes that arrived do not have this SHA-256: send them again.")
        self._status(run_id)
        run = RunDir(self._folder(run_id))
        try:
            run.logged_files.mkdir(exist_ok=True)
            with path.open("rb") as file:
                os.fsync(file.fileno())
            path.rename(run.logged_file(sha256))
            sync_folder(run.logged_files)
        except FileNotFoundError:
            raise not_found("run", run_id) from None

    def _folder(self, run_id: str) -> Path:
        return self._settings.runs / run_id

    def _create(self, folder: Path, request: ScriptSession) -> bool:
        """Create the run's directory. Returns False if another request has done so just now."""
        facts = ScriptFacts(id=folder.name, created=time.time())
        meta = request.model_dump(include={"project", "group", "tags", "notes"})
        meta |= {"name": request.name or _default_name(request) or folder.name}
        first = script.Session(
            session=request.session, attempt=1, time=facts.created, config=request.config, script=request.script
        )
        try:
            script.create_script_dir(folder, facts, first, meta)
        except FileExistsError:
            if not RunDir(folder).committed.exists():  # what a launch that was killed has left
                message = "The directory of this run is incomplete: choose another id."
                raise ApiError(409, "directory_incomplete", message) from None
            return False
        return True

    def _session(self, folder: Path, request: ScriptSession) -> script.Session:
        """Return the session of the request, which is added if it is new."""
        with script.appending(folder):
            known = script.sessions_of(folder)
            found = next((one for one in known if one.session == request.session), None)
            if found is not None:
                return found
            if request.resume == "never":
                raise ApiError(409, "run_exists", f"There is a run {folder.name!r} already.")
            if len(known) >= MOST_SESSIONS:
                raise ApiError(409, "too_many_sessions", f"A run has at most {MOST_SESSIONS} sessions.")
            session = script.Session(
                session=request.session,
                attempt=known[-1].attempt + 1 if known else 1,
                time=time.time(),
                config=request.config,
                script=request.script,
            )
            script.add_session(folder, session)
            return session

    def _row(self, session: Session, folder: Path) -> Run:
        """Return the run's row. It is missing if the run was created just now, or if its creation was interrupted."""
        row = session.exec(select(Run).where(Run.id == folder.name)).first()
        if row is None:
            row = new_row(folder)
            session.add(row)
            session.flush()
            session.add(ScriptRecord(run=row.key or 0))
            publish_run(session, row, "created")
        return row

    def _begin_attempt(self, session: Session, row: Run, attempt: int) -> None:
        fields: dict[str, Any] = {"attempt": attempt, "phase": None, "error": None, "finished_at": None}
        if row.status == Status.RUNNING:
            guarded_update(session, row, **fields)
        else:
            move(session, row, Status.RUNNING, **fields)
        publish_run(session, row)

    def _status(self, run_id: str) -> tuple[str, str | None]:
        columns = col(Run.status), col(Run.phase), col(Run.source)
        with self._database.read() as session:
            found = session.exec(select(*columns).where(Run.id == run_id)).first()
        if found is None:
            raise not_found("run", run_id)
        status, phase, source = found
        if source != Source.SCRIPT:
            raise ApiError(409, "not_a_script", "This run is trained by Trackside: a script cannot log to it.")
        return status, phase

    def _wake(self, run_id: str) -> tuple[str, str | None]:
        """Tell the workers that an ended run has new events. One that was stopped while it was silent is stopping."""
        with self._database.write(durable=False) as session:
            row = session.exec(select(Run).where(Run.id == run_id)).first()
            if row is None:
                raise not_found("run", run_id)
            if row.status == Status.STOPPED and row.phase == SILENT:
                move(session, row, Status.STOPPING, phase=None, finished_at=None)
                publish_run(session, row)
            elif row.status in ENDED and row.phase != UNREAD:
                guarded_update(session, row, phase=UNREAD)
        return row.status, row.phase


def last_unread_step(folder: Path, read: Position) -> int:
    """Return the largest step after the position up to which events were read; -1 if there is none."""
    unread = walk(folder, read, shapes=SCRIPT_SHAPES)
    return max((event["step"] for _, event in unread if event["e"] == "metrics"), default=-1)


def _default_name(request: ScriptSession) -> str:
    """The name of the script's file, from its command."""
    command = request.script.get("command")
    words = [word for word in command if isinstance(word, str)] if isinstance(command, list) else []
    name = next((word for word in words if word.endswith(".py")), words[0] if words else "")
    cleaned = "".join(letter for letter in Path(name).name if letter.isprintable())
    return cleaned[:200]


def _attempt_of(folder: Path, session: str) -> int:
    """Raises ApiError 404: the session was not registered; 409: it is not the latest."""
    known = script.sessions_of(folder)
    found = next((one for one in known if one.session == session), None)
    if found is None:
        raise not_found("session", session)
    if found is not known[-1]:
        raise ApiError(409, "superseded", "Another session logs to this run now.")
    return found.attempt


def _new_bytes(path: Path, size: int, offset: int, body: bytes) -> bytes:
    """Return the part of the body that the file does not have yet."""
    if offset > size:
        raise ApiError(409, "gap", f"The server has {size} bytes of this session.", {"offset": size})
    overlap = min(size - offset, len(body))
    if overlap:
        with path.open("rb") as file:
            file.seek(offset)
            if file.read(overlap) != body[:overlap]:
                message = "These events differ from those that were sent before."
                raise ApiError(409, "different_events", message, {"offset": size})
    return body[overlap:]


def _append(path: Path, data: bytes, *, durably: bool) -> None:
    """Append the bytes. Those that do not fit on the disk are sent again.

    They are synced only at the end of a session: until then, the client has them too.
    """
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        while data:
            data = data[os.write(fd, data) :]
        if durably:
            os.fsync(fd)
    finally:
        os.close(fd)


def _durable_size(path: Path) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        os.fsync(fd)
        return size
    finally:
        os.close(fd)
