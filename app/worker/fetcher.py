"""Fetches the checkpoints and the other whole files of a run from its node, beside the stream of its events."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from app.worker.seat_calls import Lost
from trainer.node.calls import PIECE, Refused, Stamp
from trainer.rundir.checkpoints import CheckpointInfo, list_checkpoints, remove_checkpoints
from trainer.rundir.folder import RunDir
from trainer.system.durable import placed, write_durably

RETRY_SECONDS = 0.5

log = logging.getLogger(__name__)


class Fetcher:
    """A thread that fetches what is wanted, the newest checkpoint first. `read` reads a piece of a file of the node.

    What is not listed any more when its turn comes is passed over: the trainer has deleted it.
    """

    def __init__(self, run: RunDir, read: Callable[[str, int, int], bytes]) -> None:
        self._run, self._read = run, read
        self._wanted: dict[int, bytes] = {}
        self._files: dict[str, Stamp] = {}
        self._there = {info.step: run.sidecar(info.step).read_bytes() for info in list_checkpoints(run.path)}
        self._passed: set[int] = set()
        self._stamps: dict[str, Stamp] = {}
        self._has_changed = True  # what the mirror before this one has copied may not have been told of
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=f"fetcher {run.path.name}", daemon=True)
        self._thread.start()

    @property
    def steps(self) -> frozenset[int]:
        """The checkpoints that the node need not keep for this home."""
        with self._changed:
            return frozenset(self._there.keys() - self._newer() | self._passed)

    @property
    def is_done(self) -> bool:
        """Whether all that was wanted is here."""
        with self._changed:
            return self._next() is None

    def lacks(self, checkpoints: dict[int, bytes], files: dict[str, Stamp]) -> bool:
        """Whether something else is wanted than before."""
        with self._changed:
            return (checkpoints, files) != (self._wanted, self._files)

    def want(self, checkpoints: dict[int, bytes], files: dict[str, Stamp]) -> None:
        """Set what is wanted: the sidecars by step, and files by path. All events before them must be here, durable."""
        with self._changed:
            self._passed |= self._wanted.keys() - checkpoints.keys() - self._there.keys()
            self._wanted, self._files = checkpoints, files
            self._changed.notify_all()

    def have_changed(self) -> bool:
        """Whether checkpoints have come or were deleted since the last call."""
        with self._changed:
            changed, self._has_changed = self._has_changed, False
        return changed

    def prune(self, steps: set[int]) -> set[int]:
        """Delete those of these checkpoints that are older than another one that stays; return them."""
        with self._changed:
            newest = max(self._there.keys() - steps, default=-1)
            old = {step for step in steps if step < newest}
            remove_checkpoints(self._run.path, sorted(old))
            self._there = {step: sidecar for step, sidecar in self._there.items() if step not in old}
            self._passed |= old
            self._has_changed = self._has_changed or bool(old)
        return old

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _next(self) -> int | str | None:
        if steps := self._newer() - self._passed:
            return max(steps)
        return next((path for path, stamp in self._files.items() if self._stamps.get(path) != stamp), None)

    def _newer(self) -> set[int]:
        """The wanted checkpoints that are not here as they are there."""
        return {step for step, sidecar in self._wanted.items() if self._there.get(step) != sidecar}

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._next() is not None)
                if self._closed:
                    return
                item = self._next()
                sidecar = self._wanted.get(item) if isinstance(item, int) else None
                stamp = self._files.get(item) if isinstance(item, str) else None
            try:
                if isinstance(item, int) and sidecar is not None:
                    self._fetch_checkpoint(item, sidecar)
                elif isinstance(item, str) and stamp is not None:
                    self._fetch_file(item, stamp)
            except Refused:
                return
            except (OSError, ValueError, Lost) as error:
                # A full disk at home, a node that does not answer: the mirror knows what that means.
                log.warning("%s of %s cannot be copied: trying again (%s)", item, self._run.path.name, error)
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, RETRY_SECONDS)

    def _fetch_checkpoint(self, step: int, sidecar: bytes) -> None:
        """Copy the weights, then the sidecar, so that every listed checkpoint can be loaded."""
        try:
            info = CheckpointInfo.model_validate_json(sidecar)
        except ValidationError:
            self._pass_over(step)
            return
        target = self._run.weights(step)
        target.parent.mkdir(exist_ok=True)
        try:
            with placed(target, mode=0o644, alone=True) as fresh:
                if self._copy(target, fresh, info.size) != info.sha256:
                    raise ValueError("its hash is another one")
        except FileNotFoundError:
            self._pass_over(step)
            return
        write_durably(self._run.sidecar(step), sidecar)
        with self._changed:
            self._there[step] = sidecar
            self._has_changed = True

    def _fetch_file(self, path: str, stamp: Stamp) -> None:
        target = self._run.path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError), placed(target, mode=0o644, alone=True) as fresh:
            self._copy(target, fresh, stamp[0])
        with self._changed:
            self._stamps[path] = stamp

    def _copy(self, target: Path, fresh: Path, size: int) -> str:
        """Copy a file of the node to `fresh`, and return its SHA-256. Raises FileNotFoundError: it is gone."""
        relative, digest = str(target.relative_to(self._run.path)), hashlib.sha256()
        with fresh.open("wb") as file:
            for offset in range(0, size, PIECE):
                data = self._read(relative, offset, min(PIECE, size - offset))
                digest.update(data)
                file.write(data)
        return digest.hexdigest()

    def _pass_over(self, step: int) -> None:
        with self._changed:
            self._passed.add(step)
