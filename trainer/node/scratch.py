"""What a seat keeps on its disk, which outlives its process.

<root>/blobs, datasets       what was sent, shared by the seats of the machine (trainer/node/blobs.py)
<seat>/runs/<id>/            the run directory
<seat>/claims/<id>           the highest claim that was seen
<seat>/begun/<id>            the attempt whose trainer was started, then its pid
<seat>/begun/<id>.<name>     the request of a user that was passed on last
<seat>/outbox/<id>/          weights that the home has not fetched yet: the trainer may delete its own
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from trainer.node.calls import Holding, Refused
from trainer.rundir.folder import RunDir
from trainer.rundir.lock import lock_holder
from trainer.system.durable import remove_folder, remove_set_aside, set_aside, write_durably


class Scratch:
    """`changing` is held by the calls that change it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.changing = threading.RLock()
        for part in ("runs", "claims", "begun", "outbox"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        remove_set_aside(folder / "runs")

    def run(self, run: str) -> RunDir:
        return RunDir(self.folder / "runs" / run)

    def outbox(self, run: str) -> Path:
        return self.folder / "outbox" / run

    def check_claim(self, run: str, claim: int) -> None:
        """Remember the highest claim durably, and refuse a lower one."""
        with self.changing:
            path = self.folder / "claims" / run
            known = int(path.read_text()) if path.exists() else -1
            if claim < known:
                raise Refused(f"claim {claim} on {run}: claim {known} was seen here")
            if claim > known:
                write_durably(path, str(claim).encode())

    def begun(self, run: str) -> tuple[int, int | None] | None:
        """The attempt that was begun, and the pid of its trainer if it is known."""
        try:
            attempt, _, pid = self._begun(run).read_text().partition(" ")
        except FileNotFoundError:
            return None
        return int(attempt), int(pid) if pid else None

    def note_begun(self, run: str, attempt: int, pid: int | None) -> None:
        write_durably(self._begun(run), f"{attempt} {pid or ''}".encode())

    def forget_begun(self, run: str) -> None:
        self._begun(run).unlink(missing_ok=True)

    def is_new_request(self, run: str, name: str, stamp: int) -> bool:
        seen = self._request(run, name)
        return not seen.exists() or seen.read_text() != str(stamp)

    def note_request(self, run: str, name: str, stamp: int) -> None:
        write_durably(self._request(run, name), str(stamp).encode())

    def remove(self, run: str) -> None:
        """Delete all but the claim."""
        self.forget_begun(run)
        for path in (self.folder / "begun").glob(f"{run}.*"):
            path.unlink()
        remove_folder(set_aside(self.run(run).path))
        remove_folder(self.outbox(run))

    def holding(self) -> Iterator[Holding]:
        for path in sorted((self.folder / "runs").iterdir()):
            begun, claim = self.begun(path.name), self.folder / "claims" / path.name
            if begun is not None and claim.exists():
                yield Holding(path.name, begun[0], int(claim.read_text()), lock_holder(path) is not None)

    def _begun(self, run: str) -> Path:
        return self.folder / "begun" / run

    def _request(self, run: str, name: str) -> Path:
        return self.folder / "begun" / f"{run}.{name}"
