"""What a run's directory on a node has that the home has not, read in the order that the mirror relies on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from trainer.node.calls import PIECE, Have, Pulled, Stamp, requests_of
from trainer.rundir.folder import RunDir

NOT_SENT = frozenset({RunDir(Path()).features.name})  # large, and computed again where it is missing


class News:
    """Of one attempt. `outbox` keeps weights that the home has not fetched yet: the trainer may delete its own."""

    def __init__(self, run: RunDir, outbox: Path, attempt: int) -> None:
        self._run, self._outbox = run, outbox
        self._events = run.events(attempt)

    def has_events(self, have: Have) -> bool:
        return _size(self._events) > have.events

    def collect(self, have: Have, pid: int | None, *, exited: bool) -> Pulled:
        run = self._run
        checkpoints = dict(self._checkpoints(have.checkpoints))
        files = dict(self._files())
        text = _read(self._events, have.events, PIECE)
        stamp = _stamp(run.decisions)
        return Pulled(
            pid=pid,
            exited=exited,
            checkpoints=checkpoints,
            files=files,
            events=text,
            more=_size(self._events) > have.events + len(text),
            output=_read(run.output, have.output, PIECE),
            decisions=run.decisions.read_bytes() if stamp is not None and stamp != have.decisions else None,
            decisions_stamp=stamp,
            requests=frozenset(name for name, path in requests_of(run).items() if (run.path / path).exists()),
            meeting=_read(run.meeting, 0, PIECE) or None,
        )

    def _checkpoints(self, had: frozenset[int]) -> Iterator[tuple[int, bytes]]:
        """List the sidecars. The weights that the home does not have yet are kept for it."""
        self._outbox.mkdir(exist_ok=True)
        for path in sorted(self._run.checkpoints.glob("[0-9]*.json")):
            step = int(path.stem)
            weights = self._run.weights(step)
            if step not in had:
                with suppress(FileExistsError, FileNotFoundError):
                    os.link(weights, self._outbox / weights.name)
            with suppress(FileNotFoundError):  # the trainer deletes it
                text = path.read_bytes()
                if step in had or (self._outbox / weights.name).exists():
                    yield step, text
        for path in self._outbox.iterdir():
            if int(path.stem) in had:
                path.unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[str, Stamp]]:
        """The files that the trainer writes as a whole, beside its checkpoints."""
        for root in (self._run.artifacts, self._run.environment(0).parent):
            for path in root.rglob("*"):
                if path.name.startswith(".") or path.name in NOT_SENT:
                    continue
                stamp = _stamp(path)
                if stamp is not None and path.is_file():
                    yield str(path.relative_to(self._run.path)), stamp


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns


def _size(path: Path) -> int:
    stamp = _stamp(path)
    return 0 if stamp is None else stamp[0]


def _read(path: Path, offset: int, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(limit)
    except FileNotFoundError:
        return b""
