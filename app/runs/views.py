"""Saved views of the list of runs: a name and the query string of the page, shared by everyone who uses the server.

They are kept in a file of the home, not in the database, which can be rebuilt without them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from filelock import FileLock

from app.errors import ApiError, not_found
from trainer.system.durable import write_durably

FILE = "views.json"
MOST_VIEWS = 200


@dataclass(frozen=True)
class View:
    """`query` is the query string of the list, such as `q=lr<0.01&sort=-best`. `time`: seconds since the epoch."""

    name: str
    query: str
    time: float


class Views:
    def __init__(self, home: Path) -> None:
        self._path = home / FILE

    def all(self) -> list[View]:
        """Return the views by name. A file that is damaged counts as empty."""
        return self._read() or []

    def _read(self) -> list[View] | None:
        """Return the views by name; None if the file is damaged."""
        try:
            found = orjson.loads(self._path.read_bytes())
            views = [View(str(one["name"]), str(one["query"]), float(one["time"])) for one in found]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, KeyError):
            return None
        return sorted(views, key=lambda view: view.name.lower())

    def put(self, name: str, query: str) -> View:
        """Save a view, in place of one of the same name. Raises ApiError 409: there are MOST_VIEWS."""
        view = View(name, query, time.time())
        with self._others(name) as others:
            if len(others) >= MOST_VIEWS:
                raise ApiError(409, "too_many_views", f"There are {MOST_VIEWS} views: delete one first.")
            self._write([*others, view])
        return view

    def remove(self, name: str) -> None:
        """Raises ApiError 404."""
        if name not in {view.name for view in self.all()}:
            raise not_found("view", name)
        with self._others(name) as others:
            self._write(others)

    @contextmanager
    def _others(self, name: str) -> Iterator[list[View]]:
        """Hold the lock and yield all views but the one of this name. A damaged file is kept beside the new one."""
        with FileLock(self._path.with_suffix(".lock")):
            views = self._read()
            if views is None:
                self._path.replace(self._path.with_suffix(".damaged.json"))
            yield [view for view in views or [] if view.name != name]

    def _write(self, views: list[View]) -> None:
        write_durably(self._path, orjson.dumps([asdict(view) for view in views]))
