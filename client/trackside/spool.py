"""The spool: the files that hold a script's events until the server has confirmed them.

<spool>/<id>/<session>.jsonl    the events, one JSON object per line; the scripts that write hold a shared lock on it
<spool>/<id>/<session>.json     how the session was created (`Facts`)
<spool>/<id>/<session>.sender   locked by the process that sends it
<spool>/<id>/<session>.log      what that process had to say
<spool>/<id>/files/<sha256>     images and saved files that are not uploaded yet
<spool>/<id>/dir/               `run.dir`
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

END = b'{"e":"end",'
BLOCK = 1 << 20
TIME_DIGITS = 16  # of a session's name: nanoseconds in hexadecimal digits


@dataclass
class Facts:
    """How a session was created, as kept in its `.json` file."""

    id: str
    session: str
    url: str
    mode: str
    created: float  # UNIX seconds
    request: dict[str, Any] = field(default_factory=dict)  # the body of the PUT that announces it
    system: dict[str, Any] = field(default_factory=dict)  # what the sender describes the environment from
    added: dict[str, Any] = field(default_factory=dict)  # name, project and so on that a script said later
    refused: str | None = None  # the server's code, if it will never accept the session


@dataclass(frozen=True)
class SpooledSession:
    """The files of a session."""

    folder: Path
    session: str

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def events(self) -> Path:
        return self.folder / f"{self.session}.jsonl"

    @property
    def facts_file(self) -> Path:
        return self.folder / f"{self.session}.json"

    @property
    def sender_lock(self) -> Path:
        return self.folder / f"{self.session}.sender"

    @property
    def sender_log(self) -> Path:
        return self.folder / f"{self.session}.log"

    @property
    def files(self) -> Path:
        return self.folder / "files"

    def facts(self) -> Facts:
        """Raises OSError or ValueError: there are none, or they are damaged."""
        known = json.loads(self.facts_file.read_text(encoding="utf-8"))
        if not isinstance(known, dict):
            raise ValueError(f"{self.facts_file} holds no object")
        try:
            return Facts(**known)
        except TypeError as error:
            raise ValueError(f"{self.facts_file}: {error}") from None

    def write_facts(self, facts: Facts) -> None:
        new = self.facts_file.with_suffix(f".json.{os.getpid()}")
        new.write_text(json.dumps(asdict(facts)), encoding="utf-8")
        new.replace(self.facts_file)

    def is_written(self) -> bool:
        """Whether a script that writes to it is alive."""
        fd = os.open(self.events, os.O_RDWR | os.O_CLOEXEC)
        try:
            return not _lock(fd, fcntl.LOCK_EX)
        finally:
            os.close(fd)

    def has_end(self) -> bool:
        """Whether the events hold an `end` line."""
        with self.events.open("rb") as file:
            kept = b"\n"
            while block := file.read(BLOCK):
                if b"\n" + END in kept + block:
                    return True
                kept = block[-len(END) :]
        return False

    def delete(self) -> None:
        """Delete the session, and the run's folder with its files once it holds no other session."""
        # The facts first: without them the rest is not a session.
        for path in (self.facts_file, self.events, self.sender_log, self.sender_lock):
            with suppress(FileNotFoundError):
                path.unlink()
        if not any(self.folder.glob("*.json")):
            shutil.rmtree(self.folder, ignore_errors=True)


def new_session(spool: Path, run_id: str) -> SpooledSession:
    """Create a session without events. Raises OSError: no files or locks can be made there."""
    folder = spool / run_id
    folder.mkdir(parents=True, exist_ok=True)
    ignored = spool / ".gitignore"
    if not ignored.exists():
        ignored.write_text("*\n", encoding="utf-8")
    # Sessions of a run sort by their creation, also if the clock has been set back.
    known = [int(session.session[:TIME_DIGITS], 16) for session in sessions_in(spool, run_id)]
    now = max(time.time_ns(), max(known, default=0) + 1)
    session = SpooledSession(folder, f"{now:0{TIME_DIGITS}x}{secrets.token_hex(6)}")
    session.events.touch()
    session.is_written()  # tries the lock
    return session


def sessions_in(spool: Path, run_id: str | None = None) -> list[SpooledSession]:
    """Return the sessions of a spool, or of one run in it, in the order of their creation."""
    found: list[SpooledSession] = []
    for path in spool.glob(f"{run_id or '*'}/*.json"):
        if path.with_suffix(".jsonl").is_file():
            found.append(SpooledSession(path.parent, path.stem))
    return sorted(found, key=lambda item: item.session)


class SenderLock:
    """Held by the one process that sends a session."""

    def __init__(self, session: SpooledSession) -> None:
        self._path = session.sender_lock
        self._fd = -1

    def take(self) -> bool:
        """Return whether the lock is ours now. Raises FileNotFoundError: the session has been deleted."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if not _lock(fd, fcntl.LOCK_EX):
            os.close(fd)
            return False
        self._fd = fd
        return True

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def whole_lines(path: Path, offset: int, limit: int = BLOCK) -> bytes:
    """Return the complete lines after byte `offset`: about `limit` bytes, at least one line if there is one."""
    with path.open("rb") as file:
        file.seek(offset)
        block = file.read(limit)
        if block and b"\n" not in block:
            block += file.readline()
    return block[: block.rfind(b"\n") + 1]


def events_of(block: bytes, *kinds: str) -> Iterator[dict[str, Any]]:
    """Yield the events of some kinds among the lines of `block`, which the client has written itself."""
    starts = tuple(f'{{"e":"{kind}",'.encode() for kind in kinds)
    for line in block.splitlines():
        if line.startswith(starts):
            with suppress(ValueError):
                yield json.loads(line)


def _lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
