"""Uploads that continue after a broken connection: a file of the home, and how long it will be.

uploads/kept/<id>.part   the bytes that have arrived, each chunk whole and checked
uploads/kept/<id>.json   Upload
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.errors import ApiError
from app.settings import Settings
from trainer.system.durable import write_durably

CHUNK_BYTES = 8 << 20  # what a client is advised to send at once
MOST_CHUNK_BYTES = 64 << 20
KEPT_SECONDS = 7 * 86_400.0
SPARE_BYTES = 1 << 30  # of the disk, besides the upload
COPY_BYTES = 1 << 20


class Upload(BaseModel):
    """`offset` bytes of `size` have arrived: the next chunk begins there."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    size: int
    offset: int = 0
    chunk_bytes: int = Field(CHUNK_BYTES, description="How many bytes to send at once.")


class Uploads:
    def __init__(self, settings: Settings) -> None:
        self._folder = settings.uploads / "kept"
        self._limit = settings.max_dataset_bytes

    def begin(self, name: str, size: int) -> Upload:
        """Raises ApiError 413: it is larger than the server takes; 507: the disk has no room for it."""
        if size > self._limit:
            raise ApiError(413, "too_large", f"The file is larger than {self._limit:,} bytes.")
        self._folder.mkdir(parents=True, exist_ok=True)
        self.expire()
        if shutil.disk_usage(self._folder).free < size + SPARE_BYTES:
            raise ApiError(507, "no_space", "No space left on device for this file.")
        upload = Upload(id=secrets.token_hex(12), name=name, size=size)
        self._part(upload.id).touch()
        write_durably(self._about(upload.id), upload.model_dump_json().encode())
        return upload

    def look(self, upload_id: str) -> Upload:
        """Raises ApiError 404."""
        try:
            known = Upload.model_validate_json(self._about(upload_id).read_bytes())
            return known.model_copy(update={"offset": self._part(upload_id).stat().st_size})
        except (FileNotFoundError, ValidationError):
            raise ApiError(404, "not_found", "There is no such upload: it was used, or is too old.") from None

    def append(self, upload_id: str, offset: int, chunk: Path, sha256: str | None) -> Upload:
        """Append the file `chunk`. The same chunk may arrive twice: what is there already is skipped.

        Raises ApiError 404; 409: the chunk does not begin where the upload ends; 413: it is longer than what is
        missing; 422: it does not have the hash that was sent with it; OSError.
        """
        if sha256 is not None and _hash_of(chunk) != sha256:
            raise ApiError(422, "hash_differs", "The chunk does not have its hash: send it again.")
        with self._locked(upload_id):
            known = self.look(upload_id)
            length = chunk.stat().st_size
            if offset > known.offset:
                message = f"The upload goes on at byte {known.offset:,}."
                raise ApiError(409, "wrong_offset", message, {"offset": known.offset})
            if offset + length > known.size:
                raise ApiError(413, "too_large", f"The file was announced with {known.size:,} bytes.")
            with chunk.open("rb") as source, self._part(upload_id).open("ab") as target:
                source.seek(min(known.offset - offset, length))
                shutil.copyfileobj(source, target, COPY_BYTES)
                target.flush()
                os.fsync(target.fileno())
            return self.look(upload_id)

    def whole(self, upload_id: str) -> tuple[Path, str]:
        """The path and the name of an upload that has arrived. Raises ApiError 404; 409: a part is missing."""
        known = self.look(upload_id)
        if known.offset < known.size:
            message = f"{known.offset:,} of {known.size:,} bytes have arrived."
            raise ApiError(409, "incomplete_upload", message, {"offset": known.offset})
        return self._part(upload_id), known.name

    def discard(self, upload_id: str) -> None:
        """Raises ApiError 404."""
        self.look(upload_id)
        self._about(upload_id).unlink(missing_ok=True)
        self._part(upload_id).unlink(missing_ok=True)

    def expire(self) -> None:
        """Delete what nobody has continued for a week."""
        for path in self._folder.glob("*"):
            if time.time() - path.stat().st_mtime > KEPT_SECONDS:
                path.unlink(missing_ok=True)

    @contextmanager
    def _locked(self, upload_id: str) -> Iterator[None]:
        self.look(upload_id)
        with self._about(upload_id).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _part(self, upload_id: str) -> Path:
        return self._folder / f"{_checked(upload_id)}.part"

    def _about(self, upload_id: str) -> Path:
        return self._folder / f"{_checked(upload_id)}.json"


def _checked(upload_id: str) -> str:
    if not upload_id.isalnum() or not upload_id.isascii():
        raise ApiError(404, "not_found", "There is no such upload.")
    return upload_id


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
