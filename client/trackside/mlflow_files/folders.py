"""MLflow's file store: mlruns/<experiment>/<run>/ with meta.yaml, params/, tags/, metrics/ and artifacts/."""

from __future__ import annotations

from pathlib import Path

from trackside.imports.items import LATEST
from trackside.mlflow_files.meta import read_meta
from trackside.mlflow_files.stored import DELETED, Point, StoredRun

META = "meta.yaml"
PLACES = (META, f"*/{META}", f"*/*/{META}", f"mlruns/*/*/{META}")
STATUSES = {"1": "RUNNING", "2": "SCHEDULED", "3": "FINISHED", "4": "FAILED", "5": "KILLED"}


def run_folders(root: Path) -> dict[str, Path]:
    """The folders of the runs at or below `root` that were not deleted, by the ids of the runs."""
    found: dict[str, Path] = {}
    for path in sorted({path for place in PLACES for path in root.glob(place)}):
        if ".trash" not in path.parts and (meta := meta_of(path.parent)).get("lifecycle_stage") != DELETED:
            run_id = meta.get("run_id") or meta.get("run_uuid")
            if run_id and meta_of(path.parent.parent).get("lifecycle_stage") != DELETED:
                found.setdefault(run_id, path.parent)
    return found


def read_folder(folder: Path) -> StoredRun:
    """Raises OSError."""
    meta = meta_of(folder)
    run_id = meta.get("run_id") or meta.get("run_uuid") or folder.name
    tags = {name: _text(path) for name, path in _named(folder / "tags")}
    points, unread = _points(folder / "metrics")
    return StoredRun(
        id=run_id,
        name=tags.get("mlflow.runName") or meta.get("run_name", ""),
        experiment=meta_of(folder.parent).get("name", ""),
        status=STATUSES.get(meta.get("status", ""), meta.get("status", "")),
        start=_moment(meta.get("start_time", "")),
        end=_moment(meta.get("end_time", "")),
        parent=_name_of(folder.parent, tags.get("mlflow.parentRunId", "")),
        params={name: _text(path) for name, path in _named(folder / "params")},
        tags=tags,
        points=points,
        artifacts=folder / "artifacts",
        unread=unread,
    )


def meta_of(folder: Path) -> dict[str, str]:
    try:
        return read_meta(_text(folder / META))
    except OSError:
        return {}


def _name_of(experiment: Path, run_id: str) -> str:
    known = meta_of(experiment / run_id) if run_id and Path(run_id).name == run_id else {}
    return known.get("run_name") or run_id


def _points(folder: Path) -> tuple[list[Point], int]:
    """The points, and how many lines were none. A line that is not complete is still being written."""
    found: list[Point] = []
    unread = 0
    for name, path in _named(folder):
        for line in _text(path).split("\n")[:-1]:
            words = line.split()
            try:
                step = int(words[2]) if len(words) > 2 else 0
                found.append(Point(name, step, float(words[1]), _number(words[0])))
            except (ValueError, IndexError):
                unread += 1
    return found, unread


def _named(folder: Path) -> list[tuple[str, Path]]:
    """Files with the names of what they hold, whose slashes are folders."""
    return [(path.relative_to(folder).as_posix(), path) for path in sorted(folder.rglob("*")) if path.is_file()]


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def _moment(text: str) -> int:
    """A time of meta.yaml; 0 if there is none."""
    try:
        return _number(text)
    except ValueError:
        return 0


def _number(text: str) -> int:
    """A time in milliseconds. Raises ValueError."""
    found = int(text)
    if not 0 <= found <= LATEST * 1000:
        raise ValueError(f"{found} is no time")
    return found
