"""A seat: one device of a node, on which the runs of a home are trained. Free of torch, and of how it is called.

A run is laid out in a scratch directory like the one at home, and trained there by the ordinary trainer. The home pulls
what it writes; a seat never writes to the home. Every call may be repeated. Each carries the home's claim on the run:
one that is lower than the highest that was seen is refused for ever, so a home that was cut off cannot interfere.

<root>/blobs, datasets       what was sent, shared by the seats of the machine (trainer/node/blobs.py)
<seat>/runs/<id>/            the run directory
<seat>/claims/<id>           the highest claim that was seen
<seat>/begun/<id>            the attempt whose trainer was started, then its pid
<seat>/outbox/<id>/          weights that the home has not fetched yet: the trainer may delete its own
"""

from __future__ import annotations

import itertools
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import Signals

from trainer.node.blobs import Blobs
from trainer.node.calls import PIECE, Beginning, Greeting, Have, Holding, NotBegun, Pulled, Refused, Stamp, requests_of
from trainer.process.assignment import Assignment
from trainer.process.handle import TrainerHandle
from trainer.process.starter import Starter
from trainer.rundir.events import EventWriter
from trainer.rundir.folder import RunDir
from trainer.rundir.lock import lock_holder
from trainer.system.durable import remove_folder, remove_set_aside, set_aside, write_durably

LOOK_SECONDS = 0.005  # between two looks for new events
EXIT_LOOKS = 10  # looks for new events to one at whether the trainer has exited, which costs more
KILL_SECONDS = 10.0  # a killed trainer has let go of its lock by then
FOUND_SECONDS = 5.0  # a trainer whose pid is unknown has taken its lock by then, or was never started
CACHE_BYTES = 200 << 30
NOT_SENT = frozenset({RunDir(Path()).features.name})  # large, and computed again where it is missing


class Seat:
    there_since = 0.0

    def __init__(self, root: Path, name: str, device: str, starter: Starter, cache_bytes: int = CACHE_BYTES) -> None:
        self.name, self.device = name, device
        self._folder = root / "seats" / name
        self._blobs = Blobs(root)
        self._cache = root / "execution-cache"
        self._cache_bytes = cache_bytes
        self._starter = starter
        self._handles: dict[str, tuple[int, TrainerHandle]] = {}
        self._changing = threading.RLock()  # held by the calls that change what the seat holds
        for part in ("runs", "claims", "begun", "outbox"):
            (self._folder / part).mkdir(parents=True, exist_ok=True)
        remove_set_aside(self._folder / "runs")

    def hello(self, host: str, description: str, versions: dict[str, str]) -> Greeting:
        free = shutil.disk_usage(self._folder).free
        return Greeting(host, self.device, description, versions, time.time(), free, list(self._holding()))

    def missing(self, hashes: list[str]) -> dict[str, int]:
        return self._blobs.missing(hashes)

    def put(self, sha256: str, offset: int, data: bytes, *, last: bool) -> None:
        """Raises Damaged, and NotBegun."""
        with _not_begun():
            self._blobs.put(sha256, offset, data, last=last)

    def begin(self, what: Beginning) -> int | None:
        """Lay the run out and start its trainer; return its pid. Does nothing if this attempt was begun before.

        Raises Refused, and NotBegun.
        """
        with self._changing, _not_begun():
            self._check_claim(what.run, what.claim)
            begun = self._begun(what.run)
            if begun is not None and begun[0] >= what.attempt:
                if begun[0] > what.attempt:
                    raise Refused(f"attempt {begun[0]} of {what.run} was begun here")
                return self._handle(what.run, what.attempt).pid
            self._kill(what.run)
            run, datasets = self._lay_out(what)
            # From here on a trainer may exist: another call does not start a second one.
            self._write_begun(what.run, what.attempt, None)
            pid = self._starter.start(
                Assignment(
                    run_dir=str(run.path.resolve()),
                    datasets=str(datasets.resolve()),
                    device=self.device,
                    attempt=what.attempt,
                    orphan_seconds=what.orphan_seconds,
                    cache=str(self._cache.resolve()),
                )
            )
            if pid is None:
                self._begun_path(what.run).unlink()
                raise NotBegun("no trainer could be forked")
            self._write_begun(what.run, what.attempt, pid)
            self._handles[what.run] = what.attempt, TrainerHandle(run.path, pid, time.monotonic())
            for sha in what.blobs.values():
                self._blobs.forget(sha)  # nobody needs a checkpoint twice
            return pid

    def pull(self, run: str, claim: int, attempt: int, have: Have, wait_seconds: float) -> Pulled:
        """Return what the home does not have yet, at once if there is anything, else after `wait_seconds`.

        Raises Refused.
        """
        self._check_claim(run, claim)
        handle, folder = self._handle(run, attempt), self._run(run)
        with suppress(FileNotFoundError):
            folder.owner.touch()
        deadline = time.monotonic() + wait_seconds
        events = folder.events(attempt)
        exited = handle.has_exited(time.monotonic())
        for looks in itertools.count(1):
            if exited or _size(events) > have.events or time.monotonic() > deadline:
                break
            time.sleep(LOOK_SECONDS)
            if looks % EXIT_LOOKS == 0:
                exited = handle.has_exited(time.monotonic())
        self._check_claim(run, claim)
        checkpoints = dict(self._checkpoints(run, have.checkpoints))
        text = _read(events, have.events, PIECE)
        stamp = _stamp(folder.decisions)
        return Pulled(
            pid=handle.pid,
            exited=exited,
            checkpoints=checkpoints,
            files=dict(self._files(folder)),
            events=text,
            more=_size(events) > have.events + len(text),
            output=_read(folder.output, have.output, PIECE),
            decisions=folder.decisions.read_bytes() if stamp is not None and stamp != have.decisions else None,
            decisions_stamp=stamp,
            requests=frozenset(name for name, path in requests_of(folder).items() if (folder.path / path).exists()),
        )

    def read(self, run: str, claim: int, path: str, offset: int, size: int) -> bytes:
        """Return a piece of a file of the run. Raises Refused, and FileNotFoundError."""
        self._check_claim(run, claim)
        folder = self._run(run)
        source, pinned = folder.path / path, self._outbox(run) / Path(path).name
        if source.parent == folder.checkpoints and pinned.exists():
            source = pinned
        if not source.resolve().is_relative_to(self._folder.resolve()):
            raise FileNotFoundError(path)
        with source.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def request(self, run: str, claim: int, name: str, stamp: int) -> None:
        """Pass on what a user asks of the trainer, once for each `stamp`. Raises Refused."""
        with self._changing:
            self._check_claim(run, claim)
            folder, seen = self._run(run), self._folder / "begun" / f"{run}.{name}"
            known = seen.read_text() if seen.exists() else ""
            if known != str(stamp) and folder.path.exists():
                write_durably(folder.path / requests_of(folder)[name], b"")
                write_durably(seen, str(stamp).encode())

    def signal(self, run: str, claim: int, attempt: int, number: int) -> None:
        """Signal the attempt's trainer, if it lives. Raises Refused."""
        self._check_claim(run, claim)
        self._handle(run, attempt).signal(Signals(number))

    def end(self, run: str, claim: int) -> None:
        """The home has all that it wants of the run: kill what still trains it, and delete it. Raises Refused."""
        with self._changing:
            self._check_claim(run, claim)
            self._kill(run)
            self._remove(run)

    def close(self) -> None:
        """The trainers go on, to be found by the next seat of this name."""
        self._starter.close()

    def _check_claim(self, run: str, claim: int) -> None:
        """Remember the highest claim durably, and refuse a lower one."""
        with self._changing:
            path = self._folder / "claims" / run
            known = int(path.read_text()) if path.exists() else -1
            if claim < known:
                raise Refused(f"claim {claim} on {run}: claim {known} was seen here")
            if claim > known:
                write_durably(path, str(claim).encode())

    def _lay_out(self, what: Beginning) -> tuple[RunDir, Path]:
        self._remove(what.run)
        run = self._run(what.run)
        for path, data in what.files.items():
            target = run.path / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        for path, sha in what.blobs.items():
            self._blobs.link(sha, run.path / path)
        datasets = self._blobs.dataset(what.dataset, what.dataset_files)
        self._blobs.prune(self._cache_bytes)
        EventWriter(run.path, what.attempt).close()
        run.owner.touch()
        return run, datasets

    def _kill(self, run: str) -> None:
        """Kill the trainer of the run, also one that was forked just now, and wait until it is gone."""
        folder, begun = self._run(run).path, self._begun(run)
        if begun is None and lock_holder(folder) is None:
            return
        handle = self._handle(run, begun[0]) if begun else TrainerHandle(folder, None, time.monotonic())
        deadline = time.monotonic() + KILL_SECONDS
        while not handle.has_exited(time.monotonic()):
            handle.signal(Signals.SIGKILL)
            if time.monotonic() > deadline:
                raise NotBegun(f"the trainer of {run} does not end")
            time.sleep(LOOK_SECONDS)

    def _remove(self, run: str) -> None:
        self._begun_path(run).unlink(missing_ok=True)
        for path in (self._folder / "begun").glob(f"{run}.*"):
            path.unlink()
        self._handles.pop(run, None)
        remove_folder(set_aside(self._run(run).path))
        remove_folder(self._outbox(run))

    def _handle(self, run: str, attempt: int) -> TrainerHandle:
        known = self._handles.get(run)
        if known is None:
            begun = self._begun(run)
            if begun is None:
                raise Refused(f"{run} is not here")
            known = begun[0], _Found(self._run(run).path, begun[1], time.monotonic())
            self._handles[run] = known
        if known[0] != attempt:
            raise Refused(f"attempt {known[0]} of {run} is here, not {attempt}")
        return known[1]

    def _holding(self) -> Iterator[Holding]:
        for path in sorted((self._folder / "runs").iterdir()):
            begun, claim = self._begun(path.name), self._folder / "claims" / path.name
            if begun is not None and claim.exists():
                yield Holding(path.name, begun[0], int(claim.read_text()), lock_holder(path) is not None)

    def _checkpoints(self, run: str, had: frozenset[int]) -> Iterator[tuple[int, bytes]]:
        """List the sidecars. The weights that the home does not have yet are kept for it."""
        folder, outbox = self._run(run), self._outbox(run)
        outbox.mkdir(exist_ok=True)
        for path in sorted(folder.checkpoints.glob("[0-9]*.json")):
            step = int(path.stem)
            weights = folder.weights(step)
            if step not in had:
                with suppress(FileExistsError, FileNotFoundError):
                    os.link(weights, outbox / weights.name)
            with suppress(FileNotFoundError):  # the trainer deletes it
                text = path.read_bytes()
                if step in had or (outbox / weights.name).exists():
                    yield step, text
        for path in outbox.iterdir():
            if int(path.stem) in had:
                path.unlink(missing_ok=True)

    def _files(self, folder: RunDir) -> Iterator[tuple[str, Stamp]]:
        """The files that the trainer writes as a whole, beside its checkpoints."""
        for root in (folder.artifacts, folder.environment(0).parent):
            for path in root.rglob("*"):
                if path.name.startswith(".") or path.name in NOT_SENT:
                    continue
                stamp = _stamp(path)
                if stamp is not None and path.is_file():
                    yield str(path.relative_to(folder.path)), stamp

    def _run(self, run: str) -> RunDir:
        return RunDir(self._folder / "runs" / run)

    def _outbox(self, run: str) -> Path:
        return self._folder / "outbox" / run

    def _begun_path(self, run: str) -> Path:
        return self._folder / "begun" / run

    def _begun(self, run: str) -> tuple[int, int | None] | None:
        """The attempt that was begun, and the pid of its trainer if it is known."""
        try:
            attempt, _, pid = self._begun_path(run).read_text().partition(" ")
        except FileNotFoundError:
            return None
        return int(attempt), int(pid) if pid else None

    def _write_begun(self, run: str, attempt: int, pid: int | None) -> None:
        write_durably(self._begun_path(run), f"{attempt} {pid or ''}".encode())


@contextmanager
def _not_begun() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NotBegun(f"{error}") from error


class _Found(TrainerHandle):
    """A trainer that another seat process has started. Without its pid, only its lock can be looked at."""

    def __init__(self, folder: Path, pid: int | None, since: float) -> None:
        super().__init__(folder, pid, since)
        self._found_at = since

    def has_exited(self, now: float, *, left: bool = False) -> bool:
        return super().has_exited(now, left=left) and (self.pid is not None or now - self._found_at > FOUND_SECONDS)


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
