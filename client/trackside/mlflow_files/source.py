"""A run of MLflow as a run to import."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Callable

from trackside.imports.items import Described, Ending, Entry, Environment, Images, Scalar, Settings, Unusable, named
from trackside.mlflow_files.artifacts import images_in
from trackside.mlflow_files.database import NAME, read_row, run_ids
from trackside.mlflow_files.folders import read_folder, run_folders
from trackside.mlflow_files.stored import Point, StoredRun
from trackside.request import Wanted

LOOKED_FOR = f"runs of MLflow (mlruns/*/*/meta.yaml, {NAME})"
STATUSES = {"FINISHED": "finished", "FAILED": "failed"}
OWN = "mlflow."  # tags that MLflow sets itself
GIT = {
    "commit": "mlflow.source.git.commit",
    "branch": "mlflow.source.git.branch",
    "remote": "mlflow.source.git.repoURL",
}


def find(root: Path, name: str = "") -> list[MlflowRun]:
    """The runs of a folder `mlruns`, of an experiment, of a run's folder, or of a database. Raises Unusable."""
    readers: dict[str, tuple[str, Callable[[], StoredRun]]] = {}
    for run_id, folder in run_folders(root).items():
        readers[run_id] = str(folder), partial(read_folder, folder)
    database = root if root.is_file() else root / NAME
    for run_id in run_ids(database) if database.is_file() else []:
        readers.setdefault(run_id, (f"{database}, run {run_id}", partial(read_row, database, run_id)))
    return [MlflowRun(path, read, name, len(readers) == 1) for path, read in readers.values()]


class MlflowRun:
    def __init__(self, path: str, read: Callable[[], StoredRun], name: str = "", is_only: bool = True) -> None:
        self.path = path
        self.began = 0.0
        self.counted: Counter[str] = Counter()
        self._read = read
        self._name, self._is_only = name, is_only
        self._run: StoredRun | None = None

    def entries(self) -> Iterator[Entry]:
        """Positions are times in milliseconds: what is logged later comes later."""
        try:
            self._run = run = self._read()
        except OSError as error:
            raise Unusable(str(error)) from None
        self.began = run.start / 1000
        self.counted = Counter({"lines that are not as MLflow writes them": run.unread})
        if run.params:
            yield 0, self.began, 0, Settings({name: _typed(text) for name, text in run.params.items()})
        yield 0, self.began, 0, Environment(_environment(run))
        for name, points in groupby(sorted(run.points, key=attrgetter("name")), key=attrgetter("name")):
            for step, point in _steps(sorted(points, key=attrgetter("time"))):
                yield point.time, point.time / 1000, step, Scalar(name, point.value)
        yield from self._images(run)

    @property
    def left_out(self) -> Counter[str]:
        return self.counted

    def described(self) -> Described:
        run = self._stored()
        wanted = Wanted(
            project=run.experiment,
            name=named(run.name or run.id[:8], self._name, self._is_only),
            group=run.parent,
            notes=run.tags.get("mlflow.note.content", ""),
            tags=tuple(f"{name}={text}" if text else name for name, text in _own_tags(run).items()),
        )
        return Described(f"mlflow-{run.id[:24]}", wanted, {"command": _environment(run).get("command", [])})

    def ending(self) -> Ending:
        """A run that has not ended as far as MLflow knows was killed, or still runs."""
        run = self._stored()
        return Ending(STATUSES.get(run.status, "stopped"), None, run.end / 1000)

    def damage(self) -> list[str]:
        return []

    def _stored(self) -> StoredRun:
        if self._run is None:
            raise Unusable("it was not read.")
        return self._run

    def _images(self, run: StoredRun) -> Iterator[Entry]:
        images, others = images_in(run.artifacts)
        self.counted["artifacts that are not images"] += others
        for image in sorted(images, key=attrgetter("time")):
            yield image.time, image.time / 1000 or self.began, image.step, Images(image.key, [image.path.read_bytes()])


def _steps(points: list[Point]) -> Iterator[tuple[int, Point]]:
    """The points of a series with their steps: a series that was logged without steps, all at 0, is counted."""
    is_counted = all(point.step == 0 for point in points)
    for index, point in enumerate(points):
        yield (index if is_counted else point.step), point


def _own_tags(run: StoredRun) -> dict[str, str]:
    return {name: text for name, text in run.tags.items() if not name.startswith(OWN)}


def _environment(run: StoredRun) -> dict[str, Any]:
    git = {name: run.tags[tag] for name, tag in GIT.items() if run.tags.get(tag)}
    source = run.tags.get("mlflow.source.name")
    found = {"command": [source] if source else [], "git": git, "mlflow_run": run.id, "tags": _own_tags(run)}
    return {name: value for name, value in found.items() if value}


def _typed(text: str) -> Any:
    """A parameter as a number or boolean if that is written in just this way; MLflow keeps texts alone."""
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        if repr(value) == text and value - value == 0:
            return value
    return text
