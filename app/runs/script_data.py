"""What a script logged besides its series: settings, environment, images, texts and files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field
from sqlalchemy import func
from sqlmodel import Session, col, select

from app.errors import ApiError, not_found
from app.runs.query import row_of
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import LoggedFile, Media, Run, ScriptRecord, Source
from trainer.rundir.folder import RunDir

MOST_STEPS = 5_000  # of a name, that are listed
MOST_NAMES = 1_000
MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp"}


class FilePublic(BaseModel):
    path: str
    sha256: str
    size: int
    time: datetime
    is_here: bool = Field(description="Whether its content has arrived.")


class ScriptPublic(BaseModel):
    id: str
    config: dict[str, Any]
    environment: dict[str, Any] = Field(description="Command, host, Python, packages, git state, devices.")
    files: list[FilePublic]
    passed_over: int = Field(description="Lines and values that could not be used: see the server's log.")


class MediaName(BaseModel):
    """The images or the texts that a script logged under one name."""

    name: str
    kind: Literal["image", "text"]
    count: int
    steps: list[int] = Field(description=f"At most the last {MOST_STEPS:,}.")


class MediaPublic(BaseModel):
    kind: Literal["image", "text"]
    name: str
    step: int
    index: int
    time: datetime
    text: str = Field(description="The text, or the caption of an image.")
    sha256: str | None
    is_here: bool = Field(description="Whether the image has arrived.")


class ScriptData:
    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    def of(self, run_id: str) -> ScriptPublic:
        """Raises ApiError 404; 409: it is not a script's run."""
        with self._database.read() as session:
            row = _script_row(session, run_id)
            record = session.get(ScriptRecord, row.key) or ScriptRecord(run=row.key or 0)
            files = session.exec(
                select(LoggedFile).where(LoggedFile.run == row.key).order_by(col(LoggedFile.path))
            ).all()
        return ScriptPublic(
            id=run_id,
            config=record.config,
            environment=record.environment,
            files=[
                FilePublic(
                    **file.model_dump(exclude={"time"}), time=_moment(file.time), is_here=self._has(run_id, file.sha256)
                )
                for file in files
            ],
            passed_over=record.passed_over,
        )

    def has_media(self, run_id: str) -> bool:
        with self._database.read() as session:
            key = _script_row(session, run_id).key
            return session.exec(select(Media.key).where(Media.run == key).limit(1)).first() is not None

    def media_names(self, run_id: str) -> list[MediaName]:
        """Return the names under which images and texts were logged. Raises ApiError 404, 409."""
        with self._database.read() as session:
            key = _script_row(session, run_id).key
            groups = session.exec(
                select(Media.name, Media.kind, func.count())
                .where(Media.run == key)
                .group_by(col(Media.name), col(Media.kind))
                .order_by(col(Media.name))
                .limit(MOST_NAMES)
            ).all()
            found = []
            for name, kind, count in groups:
                steps = session.exec(
                    select(Media.step)
                    .where(Media.run == key, Media.name == name, Media.kind == kind)
                    .group_by(col(Media.step))
                    .order_by(col(Media.step).desc())
                    .limit(MOST_STEPS)
                ).all()
                found.append(
                    MediaName.model_validate({"name": name, "kind": kind, "count": count, "steps": steps[::-1]})
                )
        return found

    def media(self, run_id: str, name: str, step: int | None) -> list[MediaPublic]:
        """Return what was logged under a name at the last step that is not after `step`. Raises ApiError 404, 409."""
        with self._database.read() as session:
            key = _script_row(session, run_id).key
            where = [col(Media.run) == key, col(Media.name) == name]
            until = where if step is None else [*where, col(Media.step) <= step]
            last = session.exec(select(func.max(Media.step)).where(*until)).one()
            rows = session.exec(
                select(Media).where(*where, col(Media.step) == last).order_by(col(Media.number), col(Media.key))
            ).all()
        return [
            MediaPublic.model_validate(
                {
                    **row.model_dump(include={"kind", "name", "step", "text", "sha256"}),
                    "index": row.number,
                    "time": _moment(row.time),
                    "is_here": row.sha256 is not None and self._has(run_id, row.sha256),
                }
            )
            for row in rows
        ]

    def file(self, run_id: str, sha256: str) -> tuple[Path, str, str | None]:
        """Return a logged file, its media type, and the name to save it under, None for an image to be shown.

        Raises ApiError 404.
        """
        with self._database.read() as session:
            key = _script_row(session, run_id).key
            image = session.exec(select(Media.format).where(Media.run == key, Media.sha256 == sha256).limit(1)).first()
            saved = session.exec(
                select(LoggedFile.path).where(LoggedFile.run == key, LoggedFile.sha256 == sha256).limit(1)
            ).first()
        path = RunDir(self._settings.runs / run_id).logged_file(sha256)
        if not path.is_file():
            raise not_found("file", sha256)
        if image in MEDIA_TYPES:
            return path, MEDIA_TYPES[image or ""], None
        return path, "application/octet-stream", Path(saved or sha256).name or sha256

    def _has(self, run_id: str, sha256: str) -> bool:
        return RunDir(self._settings.runs / run_id).logged_file(sha256).is_file()


def _script_row(session: Session, run_id: str) -> Run:
    row = row_of(session, run_id)
    if row.source != Source.SCRIPT:
        raise ApiError(409, "not_a_script", "This run is trained by Trackside: no script logs to it.")
    return row


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
