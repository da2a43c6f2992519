"""A run of the server: its state, its curves and files, and the calls that steer it."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from trackside.api import Api
from trackside.errors import ApiError
from trackside.metrics import Metrics, metrics_of

Record = TypeVar("Record")
ENDED = ("finished", "stopped", "failed")
POINTS = 1000
POLL_SECONDS = 1.0
AWAY_SECONDS = 60.0  # for which a server may be away while a run is waited for, as when it is restarted


@dataclass(frozen=True)
class LogLine:
    """key: increases from line to line. time: seconds since 1970, UTC. attempt: of the run's starts, from 1."""

    key: int
    time: float
    attempt: int
    line: str


@dataclass(frozen=True)
class Checkpoint:
    """sha256 and size (bytes) are those of the file; metrics are what was measured at this step."""

    step: int
    epoch: int
    sha256: str
    size: int
    metrics: dict[str, Any]
    best: bool
    last: bool
    created_at: str


class RunHandle:
    """A run as the server described it last; `refresh()` asks again. All calls raise ApiError."""

    def __init__(self, api: Api, data: dict[str, Any]) -> None:
        self._api = api
        self.data = data

    @property
    def id(self) -> str:
        return str(self.data["id"])

    @property
    def name(self) -> str:
        return str(self.data["name"])

    @property
    def status(self) -> str:
        """queued, starting, running, stopping, finished, stopped or failed."""
        return str(self.data["status"])

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    @property
    def summary(self) -> dict[str, Any]:
        """What the run has achieved, such as `test/acc` (accuracies are fractions from 0 to 1)."""
        found: dict[str, Any] = self.data["summary"]
        return found

    @property
    def error(self) -> dict[str, Any] | None:
        """Why the run has failed: {"code", "message", "detail"}."""
        found: dict[str, Any] | None = self.data["error"]
        return found

    @property
    def url(self) -> str:
        """The address of its page."""
        return f"{self._api.url}/runs/{quote(self.id, safe='')}"

    def __repr__(self) -> str:
        return f"<Run {self.id} {self.name!r} {self.status}>"

    def refresh(self) -> RunHandle:
        self.data = self._api.get(self._path())
        return self

    def wait(self, timeout: float | None = None, poll: float = POLL_SECONDS) -> RunHandle:
        """Wait until the run has ended, however it ends: look at `status` then.

        timeout, poll: seconds. A server that is away for less than a minute, as in a restart, is waited for.

        Raises TimeoutError: the run has not ended in time; it goes on.
        """
        began = reached = time.monotonic()
        while True:
            try:
                self.refresh()
                reached = time.monotonic()
            except ApiError as error:
                if not error.is_temporary or time.monotonic() - reached > AWAY_SECONDS:
                    raise
            if self.has_ended:
                return self
            left = float("inf") if timeout is None else timeout - (time.monotonic() - began)
            if left <= 0:
                raise TimeoutError(f"run {self.id} is {self.status} after {timeout:g} s")
            time.sleep(min(poll, left))

    def stop(self, finish_early: bool = False) -> RunHandle:
        """Stop the run; it keeps a checkpoint. finish_early: anneal over a few epochs, then test.

        Raises ApiError 409: it has ended.
        """
        self.data = self._api.send("POST", self._path("stop"), {"mode": "wind-down" if finish_early else "now"})
        return self

    def resume(self, extend_epochs: int = 0) -> RunHandle:
        """Continue a run that has ended from its last checkpoint, with `extend_epochs` epochs more."""
        self.data = self._api.send("POST", self._path("resume"), {"extend_epochs": extend_epochs})
        return self

    def metrics(self, series: Iterable[str] | str | None = None, points: int = POINTS) -> Metrics:
        """Return series by name, each {"step": [...], "value": [...], "time": [...]} (time: seconds since 1970, UTC).

        series: a name or names, all by default; those that the run does not have are left out.
        points: a longer series is reduced to about so many points, the extremes among them; at most 100,000.
        """
        names = [series] if isinstance(series, str) else None if series is None else list(series)
        if names == []:
            return Metrics()
        return metrics_of(self._api.get(self._path("metrics"), points=points, name=names))

    def log(self, after: int = -1) -> list[LogLine]:
        """Return the lines of the log past the one whose key is `after`; all of them by default."""
        lines: list[LogLine] = []
        while found := self._api.get(self._path("log"), after=after):
            lines += [_record(LogLine, line) for line in found]
            after = lines[-1].key
        return lines

    def checkpoints(self) -> list[Checkpoint]:
        """Return the checkpoints by step."""
        return [_record(Checkpoint, found) for found in self._api.get(self._path("checkpoints"))]

    def download(self, step: int | str, path: str | os.PathLike[str]) -> Path:
        """Download the weights of a checkpoint (safetensors), and return the file's path.

        step: of a checkpoint, or "best" or "last". path: of the file, or a folder for it. What stood there is replaced
        once the file is complete and has its SHA-256.

        Raises ApiError 404: there is no such checkpoint.
        """
        named = {"best": lambda item: item.best, "last": lambda item: item.last}
        wanted = named.get(str(step), lambda item: item.step == step)
        found = next(filter(wanted, self.checkpoints()), None)
        if found is None:
            raise ApiError(404, "not_found", f"Run {self.id} has no checkpoint {step}.")
        target = Path(path)
        if target.is_dir():
            target = target / f"{self.id}-{found.step}.safetensors"
        part = target.with_name(target.name + ".part")
        digest = hashlib.sha256()
        try:
            with self._api.stream(self._path(f"checkpoints/{found.step}/file")) as blocks, part.open("wb") as file:
                for block in blocks:
                    digest.update(block)
                    file.write(block)
            if digest.hexdigest() != found.sha256:
                raise ApiError(200, "damaged", f"The file of checkpoint {found.step} does not have its SHA-256.")
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return target

    def csv(self) -> AbstractContextManager[Iterator[bytes]]:
        """Give every value as CSV (series, step, value, time) in a `with` statement, as an iterator of blocks."""
        return self._api.stream(self._path("metrics.csv"))

    def _path(self, rest: str = "") -> str:
        return f"/api/runs/{quote(self.id, safe='')}" + (f"/{rest}" if rest else "")


def _record(kind: type[Record], found: Mapping[str, Any]) -> Record:
    """Return what an answer holds of `kind`, a dataclass: a newer server may send more."""
    return kind(**{field.name: found[field.name] for field in fields(kind)})  # type: ignore[arg-type]
