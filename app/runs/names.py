"""Aliases of models: a name such as `production` is assigned to a run, or to an ensemble of several runs.

Aliases are kept in an fsynced journal in the home, one change per line: the last line with a name is its current
assignment. The database holds none of this, so a lost database loses no alias.
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
class AliasChange:
    """One change of an alias. `run` is None if it was removed, or assigned to an ensemble, of `runs`.

    `time` is in seconds since the epoch. An older version, without ensembles, reads an ensemble's line as the removal
    of the alias.
    """

    name: str
    run: str | None
    time: float
    runs: tuple[str, ...] = ()

    @property
    def members(self) -> tuple[str, ...]:
        """The run, or the runs of the ensemble; empty if the alias was removed."""
        return self.runs or (() if self.run is None else (self.run,))


class Aliases:
    def __init__(self, home: Path) -> None:
        self._path = home / JOURNAL
        # When it was changed and its size, and what stood in it then: replaced at once, since threads share them.
        self._read: tuple[tuple[int, int], dict[str, AliasChange]] = ((0, 0), {})

    def history(self) -> list[AliasChange]:
        """Return all changes, oldest first. A torn last line, which was never acknowledged, is skipped."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        found = []
        for line in lines:
            try:
                entry = orjson.loads(line)
                found.append(AliasChange(entry["name"], entry["run"], entry["time"], tuple(entry.get("runs") or ())))
            except (orjson.JSONDecodeError, KeyError, TypeError):
                continue
        return found

    def current(self) -> dict[str, AliasChange]:
        """Return the last change of each assigned alias, by name."""
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return {}
        changed_at = (stat.st_mtime_ns, stat.st_size)  # the journal only grows
        read_at, current = self._read
        if changed_at != read_at:
            last = {change.name: change for change in self.history()}
            current = {name: last[name] for name in sorted(last) if last[name].members}
            self._read = (changed_at, current)
        return dict(current)

    def runs_of(self, name: str) -> tuple[str, ...]:
        """Return the run that the alias is assigned to, or the runs of its ensemble; empty if it is not assigned."""
        change = self.current().get(name)
        return () if change is None else change.members

    def of_run(self, run: str) -> list[str]:
        """Return the aliases that are assigned to the run, alone or in an ensemble."""
        return [name for name, change in self.current().items() if run in change.members]

    def put(self, name: str, runs: Sequence[str], check: Callable[[], object]) -> AliasChange:
        """Assign `name` to a run, or to an ensemble of several. Applies from the next request on.

        `check` verifies that the runs can have an alias; it is called under the lock, so none of them can be deleted
        meanwhile. Raises ApiError 422: the name is not valid; and what `check` raises.
        """
        if name == LATEST or not _NAME.fullmatch(name):
            reason = "at most 40 small letters, digits, dots, dashes and underscores, a letter or digit first"
            raise invalid([(["name"], f"{reason}; {LATEST!r} is taken" if name == LATEST else reason)])
        with self._locked():
            check()
            if self.runs_of(name) == tuple(runs):
                return self.current()[name]
            alone = len(runs) == 1
            return self._write(AliasChange(name, runs[0] if alone else None, time.time(), () if alone else tuple(runs)))

    def remove(self, name: str) -> None:
        """Remove the alias. Raises ApiError 404."""
        with self._locked():
            if not self.runs_of(name):
                raise not_found("model", name)
            self._write(AliasChange(name, None, time.time()))

    @contextmanager
    def kept_unnamed(self, run: str) -> Iterator[None]:
        """Hold the lock while a run is deleted. Raises ApiError 409: an alias is assigned to the run."""
        with self._locked():
            if names := self.of_run(run):
                message = f"This run is the model {', '.join(names)}, or part of it: give that name to another first."
                raise ApiError(409, "run_is_named", message)
            yield

    def _write(self, change: AliasChange) -> AliasChange:
        append_durably(self._path, orjson.dumps(change, option=orjson.OPT_APPEND_NEWLINE))
        return change

    def _locked(self) -> FileLock:
        return FileLock(self._path.with_suffix(".lock"))
