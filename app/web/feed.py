"""The live feed: each new row is read and encoded once, and the same bytes are sent to every viewer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from sqlmodel import col, select

from app.errors import ApiError
from app.storage.changes import current_seq
from app.storage.db import ChangeHint, Database
from app.storage.tables import Change

log = logging.getLogger(__name__)

POLL_SECONDS = 0.02
HEARTBEAT_SECONDS = 15.0
QUEUE_EVENTS = 500
REPLAY_EVENTS = 5_000
RESYNC = b"event: resync\ndata: {}\n\n"
HEARTBEAT = b": still here\n\n"


@dataclass(frozen=True)
class Message:
    seq: int
    run: str
    kind: str
    data: bytes


@dataclass(eq=False)
class Viewer:
    """A subscription to the events of `runs` (all if empty) and `kinds` (all if empty) after sequence number `after`.

    `is_authorized` says whether the client is still authorized.
    """

    runs: frozenset[str]
    kinds: frozenset[str]
    after: int
    is_authorized: Callable[[], bool] = lambda: True
    ended: bool = False
    missed: list[bytes] = field(default_factory=list)
    queue: asyncio.Queue[bytes] = field(default_factory=lambda: asyncio.Queue(QUEUE_EVENTS))

    def wants(self, message: Message) -> bool:
        return (
            message.seq > self.after
            and (not self.runs or message.run in self.runs)
            and (not self.kinds or message.kind in self.kinds or message.kind == "resync")
        )

    def push(self, message: Message) -> None:
        """Queue a message. If the viewer is too slow and its queue is full, replace the queue by a `resync` event."""
        if self.queue.full():
            while not self.queue.empty():
                self.queue.get_nowait()
            self.queue.put_nowait(b"id: %d\n" % message.seq + RESYNC)
        self.queue.put_nowait(message.data)

    def end(self) -> None:
        self.ended = True
        if self.queue.full():
            self.queue.get_nowait()
        self.queue.put_nowait(b"")


class Feed:
    def __init__(self, database: Database, max_streams: int, recheck_seconds: float = 15.0) -> None:
        self.database = database
        self.max_streams = max_streams
        self.recheck_seconds = recheck_seconds
        self._rechecked = time.monotonic()
        self._viewers: set[Viewer] = set()
        self._cursor = 0
        self._task: asyncio.Task[None] | None = None
        self.closing = asyncio.Event()

    async def start(self) -> None:
        with self.database.read() as session:
            self._cursor = current_seq(session)
        self._task = asyncio.create_task(self._watch())

    def end_streams(self) -> None:
        """End all streams, and those that begin later at once."""
        self.closing.set()
        for viewer in self._viewers:
            viewer.end()

    async def stop(self) -> None:
        self.end_streams()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def streams(self) -> int:
        return len(self._viewers)

    def subscribe(
        self,
        runs: frozenset[str],
        kinds: frozenset[str],
        after: int | None,
        is_authorized: Callable[[], bool] = lambda: True,
    ) -> Viewer:
        """Add a viewer that receives all events after `after`. Raises ApiError 503: too many streams are open."""
        if len(self._viewers) >= self.max_streams:
            raise ApiError(503, "too_many_streams", "Too many live streams are open.", headers={"Retry-After": "5"})
        viewer = Viewer(runs, kinds, self._cursor if after is None else after, is_authorized)
        # Events between `after` and the cursor are replayed here; later ones are pushed. None is lost in between, since
        # both happen on the event loop without an await.
        viewer.missed = self._replay(viewer)
        self._viewers.add(viewer)
        return viewer

    def leave(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)

    def _replay(self, viewer: Viewer) -> list[bytes]:
        if viewer.after == self._cursor or self._is_ahead(viewer.after):
            return []
        # A number greater than that of any change comes from an earlier database that has been deleted.
        messages = self._read(viewer.after, self._cursor) if viewer.after < self._cursor else None
        missed = [b"id: %d\n" % self._cursor + RESYNC]
        if messages is not None:
            missed = [message.data for message in messages if viewer.wants(message)]
        viewer.after = self._cursor
        return missed

    def _is_ahead(self, after: int) -> bool:
        """Whether `after` is the number of a change that is in the database but not yet read by this feed."""
        if after <= self._cursor:
            return False
        with self.database.read() as session:
            return after <= current_seq(session)

    async def frames(self, viewer: Viewer) -> AsyncIterator[bytes]:
        """SSE frames: first the missed events, then new ones."""
        yield b"retry: 500\n\n" + b"".join(viewer.missed)
        viewer.missed.clear()
        while not self.closing.is_set() and not viewer.ended:
            try:
                frame = await asyncio.wait_for(viewer.queue.get(), HEARTBEAT_SECONDS)
            except TimeoutError:
                yield HEARTBEAT
                continue
            frames = [frame]
            while not viewer.queue.empty():
                frames.append(viewer.queue.get_nowait())
            yield b"".join(frames)

    async def _watch(self) -> None:
        hint = ChangeHint(self.database)
        behind = False
        try:
            while True:
                try:
                    # After a failed read, or one that reached its limit, read again without waiting for another hint.
                    behind = hint.changed() or behind
                    if behind:
                        behind = self._publish()
                    self._end_unauthorized(time.monotonic())
                except Exception:  # a locked or deleted database must not end the feed
                    log.exception("the live feed could not read")
                    await asyncio.sleep(1)
                await asyncio.sleep(POLL_SECONDS)
        finally:
            hint.close()

    def _end_unauthorized(self, now: float) -> None:
        """End the streams of clients that have signed out or whose token was revoked.

        Checked every `recheck_seconds`; takes 10 µs per viewer.
        """
        if now - self._rechecked < self.recheck_seconds:
            return
        self._rechecked = now
        for viewer in self._viewers:
            if not viewer.ended and not viewer.is_authorized():
                viewer.end()

    def _publish(self) -> bool:
        """Push new events to the viewers that want them. Returns whether there may be more to read."""
        messages = self._read(self._cursor, None) or []
        for message in messages:
            for viewer in self._viewers:
                if viewer.wants(message):
                    viewer.push(message)
            self._cursor = message.seq
        return len(messages) > REPLAY_EVENTS

    def _read(self, after: int, until: int | None) -> list[Message] | None:
        """The changes after `after`; None if there are too many to replay or some of them have been pruned."""
        statement = select(Change).where(col(Change.seq) > after).order_by(col(Change.seq)).limit(REPLAY_EVENTS + 1)
        if until is not None:
            statement = statement.where(col(Change.seq) <= until)
        with self.database.read() as session:
            rows = session.exec(statement).all()
        pruned = bool(rows) and until is not None and (rows[0].seq or 0) > after + 1
        if until is not None and (len(rows) > REPLAY_EVENTS or pruned):
            return None
        return [encode(row) for row in rows]


def encode(row: Change) -> Message:
    data = f"id: {row.seq}\nevent: {row.kind}\ndata: {row.payload}\n\n".encode()
    return Message(row.seq or 0, row.run, row.kind, data)
