"""What a home and a seat say to each other: the arguments and answers of the seat's calls, and their errors."""

from __future__ import annotations

from dataclasses import dataclass, field

from trainer.errors import TrainerError
from trainer.rundir.folder import RunDir

Stamp = tuple[int, int]  # a file's size in bytes, and its modification time in nanoseconds

PIECE = 4 << 20  # bytes of a file or of the events in one call


class Refused(Exception):
    """A call with a lower claim than the seat has seen, or about an attempt that it does not hold: never repeat it."""


class NotBegun(Exception):
    """The node cannot begin the run: its disk is full, or no trainer could be forked. Another one may."""


class Damaged(TrainerError):
    """What was sent does not have its hash."""

    code = "damaged"


@dataclass(frozen=True)
class Part:
    """A seat's part in a run on `size` devices: its `rank`. Rank 0 waits for the others, whose devices are `others`.

    `address` is that of the seat's machine for the other ranks, of which `sharing` are on this machine. `meeting`, for
    a rank other than the first: where rank 0 waits for it, as its own seat has told.
    """

    rank: int
    size: int
    address: str
    sharing: int
    others: tuple[str, ...]
    meeting: bytes = b""


@dataclass(frozen=True)
class Beginning:
    """A run to begin. Paths are relative to its directory or, in `dataset_files`, to the dataset's.

    `files` are sent along; `blobs` and `dataset_files` are hashes of what was put before. `part`: None for a run on
    one device.
    """

    run: str
    attempt: int
    claim: int
    files: dict[str, bytes]
    blobs: dict[str, str]
    dataset: str
    dataset_files: dict[str, str]
    orphan_seconds: float
    part: Part | None = None


@dataclass(frozen=True)
class Have:
    """What the home has of an attempt: bytes of its events and its output, and what it knows of the other files."""

    events: int
    output: int
    decisions: Stamp | None = None
    checkpoints: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Pulled:
    """News of an attempt. The checkpoints were listed before the events were read, and these before the decisions.

    `checkpoints` are the sidecars of all checkpoints by step, whose weights can be read until the home has them.
    `files` are the stamps of all other files that the trainer has written. `more`: there are more events.
    `requests` are the requests of users that the trainer has not answered yet. `meeting`: where rank 0 waits for the
    other ranks, while it does.
    """

    pid: int | None
    exited: bool
    checkpoints: dict[int, bytes]
    files: dict[str, Stamp]
    events: bytes
    more: bool
    output: bytes
    decisions: bytes | None
    decisions_stamp: Stamp | None
    requests: frozenset[str]
    meeting: bytes | None = None


@dataclass(frozen=True)
class Holding:
    """An attempt that a seat holds. `alive`: its trainer runs."""

    run: str
    attempt: int
    claim: int
    alive: bool


@dataclass(frozen=True)
class Greeting:
    """What a seat says of itself and its machine. `clock` is its UNIX time, `free` bytes of disk."""

    host: str
    device: str
    description: str
    versions: dict[str, str]
    clock: float
    free: int
    holding: list[Holding] = field(default_factory=list)


def requests_of(run: RunDir) -> dict[str, str]:
    """The files by which users ask a running trainer for something: their names, with the paths in the directory."""
    return {path.name: str(path.relative_to(run.path)) for path in (run.pause, run.finish_early)}
