"""A seat: one device of a node, on which the runs of a home are trained. Free of torch, and of how it is called.

A run is laid out in a scratch directory like the one at home, and trained there by the ordinary trainer; of a run on
several devices, by one of its ranks (trainer/process/distant_ranks.py). The home pulls what it writes; a seat never
writes to the home. Every call may be repeated. Each carries the home's claim on the run: one that is lower than the
highest that was seen is refused for ever, so a home that was cut off cannot interfere.
"""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from signal import Signals

import orjson

from trainer.node.blobs import Blobs
from trainer.node.calls import Beginning, Greeting, Have, NotBegun, Pulled, Refused, requests_of
from trainer.node.news import News
from trainer.node.scratch import Scratch
from trainer.process.assignment import Assignment, FollowAssignment
from trainer.process.handle import TrainerHandle
from trainer.process.starter import Starter
from trainer.rundir.events import EventWriter
from trainer.rundir.folder import RunDir
from trainer.rundir.lock import lock_holder
from trainer.system.durable import write_durably

LOOK_SECONDS = 0.005  # between two looks for new events
EXIT_LOOKS = 10  # looks for new events to one at whether the trainer has exited, which costs more
KILL_SECONDS = 10.0  # a killed trainer has let go of its lock by then
FOUND_SECONDS = 5.0  # a trainer whose pid is unknown has taken its lock by then, or was never started
CACHE_BYTES = 200 << 30


class Seat:
    there_since = 0.0
    address = "127.0.0.1"

    def __init__(self, root: Path, name: str, device: str, starter: Starter, cache_bytes: int = CACHE_BYTES) -> None:
        self.name, self.device = name, device
        self._scratch = Scratch(root / "seats" / name)
        self._blobs = Blobs(root)
        self._cache = root / "execution-cache"
        self._cache_bytes = cache_bytes
        self._starter = starter
        self._handles: dict[str, tuple[int, TrainerHandle]] = {}
        self._changing = self._scratch.changing

    def hello(self, host: str, description: str, versions: dict[str, str]) -> Greeting:
        free = shutil.disk_usage(self._scratch.folder).free
        return Greeting(host, self.device, description, versions, time.time(), free, list(self._scratch.holding()))

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
            self._scratch.check_claim(what.run, what.claim)
            begun = self._scratch.begun(what.run)
            if begun is not None and begun[0] >= what.attempt:
                if begun[0] > what.attempt:
                    raise Refused(f"attempt {begun[0]} of {what.run} was begun here")
                return self._handle(what.run, what.attempt).pid
            self._kill(what.run)
            run, datasets = self._lay_out(what)
            # From here on a trainer may exist: another call does not start a second one.
            self._scratch.note_begun(what.run, what.attempt, None)
            pid = self._starter.start(self._assignment(what, run, datasets))
            if pid is None:
                self._scratch.forget_begun(what.run)
                raise NotBegun("no trainer could be forked")
            self._scratch.note_begun(what.run, what.attempt, pid)
            self._handles[what.run] = what.attempt, TrainerHandle(run.path, pid, time.monotonic())
            for sha in what.blobs.values():
                self._blobs.forget(sha)  # nobody needs a checkpoint twice
            return pid

    def pull(self, run: str, claim: int, attempt: int, have: Have, wait_seconds: float) -> Pulled:
        """Return what the home does not have yet, at once if there is anything, else after `wait_seconds`.

        Raises Refused.
        """
        self._scratch.check_claim(run, claim)
        handle, folder = self._handle(run, attempt), self._scratch.run(run)
        with suppress(FileNotFoundError):
            folder.owner.touch()
        deadline = time.monotonic() + wait_seconds
        news = News(folder, self._scratch.outbox(run), attempt)
        exited = handle.has_exited(time.monotonic())
        for looks in itertools.count(1):
            if exited or news.has_events(have) or time.monotonic() > deadline:
                break
            time.sleep(LOOK_SECONDS)
            if looks % EXIT_LOOKS == 0:
                exited = handle.has_exited(time.monotonic())
        self._scratch.check_claim(run, claim)
        return news.collect(have, handle.pid, exited=exited)

    def read(self, run: str, claim: int, path: str, offset: int, size: int) -> bytes:
        """Return a piece of a file of the run. Raises Refused, and FileNotFoundError."""
        self._scratch.check_claim(run, claim)
        folder = self._scratch.run(run)
        source, pinned = folder.path / path, self._scratch.outbox(run) / Path(path).name
        if source.parent == folder.checkpoints and pinned.exists():
            source = pinned
        if not source.resolve().is_relative_to(self._scratch.folder.resolve()):
            raise FileNotFoundError(path)
        with source.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def request(self, run: str, claim: int, name: str, stamp: int) -> None:
        """Pass on what a user asks of the trainer, once for each `stamp`. Raises Refused."""
        with self._changing:
            self._scratch.check_claim(run, claim)
            folder = self._scratch.run(run)
            if self._scratch.is_new_request(run, name, stamp) and folder.path.exists():
                write_durably(folder.path / requests_of(folder)[name], b"")
                self._scratch.note_request(run, name, stamp)

    def signal(self, run: str, claim: int, attempt: int, number: int) -> None:
        """Signal the attempt's trainer, if it lives. Raises Refused."""
        self._scratch.check_claim(run, claim)
        self._handle(run, attempt).signal(Signals(number))

    def end(self, run: str, claim: int, attempt: int) -> None:
        """The home has all that it wants of this attempt: kill what still trains it, and delete it. Raises Refused.

        A later attempt, which was begun meanwhile, goes on.
        """
        with self._changing:
            self._scratch.check_claim(run, claim)
            begun = self._scratch.begun(run)
            if begun is None or begun[0] <= attempt:
                self._kill(run)
                self._remove(run)

    def close(self) -> None:
        """The trainers go on, to be found by the next seat of this name."""
        self._starter.close()

    def _lay_out(self, what: Beginning) -> tuple[RunDir, Path]:
        self._remove(what.run)
        run = self._scratch.run(what.run)
        run.make_folders()
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

    def _assignment(self, what: Beginning, run: RunDir, datasets: Path) -> Assignment | FollowAssignment:
        folder, part = str(run.path.resolve()), what.part
        if part is not None and part.rank:
            return FollowAssignment(
                run_dir=folder,
                datasets=str(datasets.resolve()),
                device=self.device,
                attempt=what.attempt,
                rank=part.rank,
                size=part.size,
                address=part.address,
                sharing=part.sharing,
                meeting=orjson.loads(part.meeting),
            )
        alone = Assignment(
            run_dir=folder,
            datasets=str(datasets.resolve()),
            device=self.device,
            attempt=what.attempt,
            orphan_seconds=what.orphan_seconds,
            cache=str(self._cache.resolve()),
        )
        return alone if part is None else replace(alone, others=part.others, listen=part.address, sharing=part.sharing)

    def _remove(self, run: str) -> None:
        self._handles.pop(run, None)
        self._scratch.remove(run)

    def _kill(self, run: str) -> None:
        """Kill the trainer of the run, also one that was forked just now, and wait until it is gone."""
        folder, begun = self._scratch.run(run).path, self._scratch.begun(run)
        if begun is None and lock_holder(folder) is None:
            return
        handle = self._handle(run, begun[0]) if begun else TrainerHandle(folder, None, time.monotonic())
        deadline = time.monotonic() + KILL_SECONDS
        while not handle.has_exited(time.monotonic()):
            handle.signal(Signals.SIGKILL)
            if time.monotonic() > deadline:
                raise NotBegun(f"the trainer of {run} does not end")
            time.sleep(LOOK_SECONDS)

    def _handle(self, run: str, attempt: int) -> TrainerHandle:
        known = self._handles.get(run)
        if known is None:
            begun = self._scratch.begun(run)
            if begun is None:
                raise Refused(f"{run} is not here")
            known = begun[0], _Found(self._scratch.run(run).path, begun[1], time.monotonic())
            self._handles[run] = known
        if known[0] != attempt:
            raise Refused(f"attempt {known[0]} of {run} is here, not {attempt}")
        return known[1]


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
