"""Names for models: `production` is one run today and another, or an ensemble of several, tomorrow.

They are kept in a journal in the home, a line a move, fsynced: its last line of a name says which run it is. Nothing of
this is in the database, so that nothing of it is lost with it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
from filelock import FileLock

from app.errors import ApiError, invalid, not_found
from trainer.system.durable import append_durably

JOURNAL = "models.jsonl"
LATEST = "latest"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")


@dataclass(frozen=True)
class Move:
    """`run` is None where the name was given up, or given to an ensemble, of `runs`; `time` in seconds since the
    epoch. An older version, which knows no ensembles, takes one for a name given up."""

    name: str
    run: str | None
    time: float
    runs: tuple[str, ...] = ()

    @property
    def members(self) -> tuple[str, ...]:
        """The run, or the ensemble's; none where the name was given up."""
        return self.runs or (() if self.run is None else (self.run,))


class Aliases:
    def __init__(self, home: Path) -> None:
        self._path = home / JOURNAL
        # When it was changed and its size, and what stood in it then: replaced at once, since threads share them.
        self._read: tuple[tuple[int, int], dict[str, Move]] = ((0, 0), {})

    def moves(self) -> list[Move]:
        """Every move ever made, in order. A torn last line, which nobody was told of, is passed over."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        found = []
        for line in lines:
            try:
                entry = orjson.loads(line)
                found.append(Move(entry["name"], entry["run"], entry["time"], tuple(entry.get("runs") or ())))
            except (orjson.JSONDecodeError, KeyError, TypeError):
                continue
        return found

    def current(self) -> dict[str, Move]:
        """The last move of each name that stands for something, by name."""
        try:
            state = self._path.stat()
        except FileNotFoundError:
            return {}
        changed_at = (state.st_mtime_ns, state.st_size)  # it only ever grows
        read_at, current = self._read
        if changed_at != read_at:
            last = {move.name: move for move in self.moves()}
            current = {name: last[name] for name in sorted(last) if last[name].members}
            self._read = (changed_at, current)
        return dict(current)

    def runs_of(self, name: str) -> tuple[str, ...]:
        """The run that the name stands for, or the runs of its ensemble; none where it stands for nothing."""
        move = self.current().get(name)
        return () if move is None else move.members

    def of_run(self, run: str) -> list[str]:
        """The names that need it."""
        return [name for name, move in self.current().items() if run in move.members]

    def put(self, name: str, runs: Sequence[str], check: Callable[[], object]) -> Move:
        """Have `name` stand for a run, or for an ensemble of several, from the next request on.

        Raises ApiError 422, and whatever `check` raises: it looks whether the runs can be named, while nobody can
        delete them.
        """
        if name == LATEST or not _NAME.fullmatch(name):
            reason = "at most 40 small letters, digits, dots, dashes and underscores, a letter or digit first"
            raise invalid([(["name"], f"{reason}; {LATEST!r} is taken" if name == LATEST else reason)])
        with self._locked():
            check()
            if self.runs_of(name) == tuple(runs):
                return self.current()[name]
            alone = len(runs) == 1
            return self._write(Move(name, runs[0] if alone else None, time.time(), () if alone else tuple(runs)))

    def remove(self, name: str) -> None:
        """Raises ApiError 404."""
        with self._locked():
            if not self.runs_of(name):
                raise not_found("model", name)
            self._write(Move(name, None, time.time()))

    @contextmanager
    def kept_unnamed(self, run: str) -> Iterator[None]:
        """The time in which a run is deleted. Raises ApiError 409 where a name stands for it: its callers need it."""
        with self._locked():
            if names := self.of_run(run):
                message = f"This run is the model {', '.join(names)}, or part of it: give that name to another first."
                raise ApiError(409, "run_is_named", message)
            yield

    def _write(self, move: Move) -> Move:
        append_durably(self._path, orjson.dumps(move, option=orjson.OPT_APPEND_NEWLINE))
        return move

    def _locked(self) -> FileLock:
        return FileLock(self._path.with_suffix(".lock"), mode=0o644)
