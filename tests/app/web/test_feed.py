"""The feed: what a viewer is told, and when it is told to fetch afresh instead."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from app.errors import ApiError
from app.storage.changes import prune, publish
from app.storage.db import Database
from app.web.feed import QUEUE_EVENTS, REPLAY_EVENTS, Feed, Viewer

T = TypeVar("T")
ALL: frozenset[str] = frozenset()


def in_feed(database: Database, use: Callable[[Feed], Awaitable[T]], max_streams: int = 3) -> T:
    """Runs `use` beside a started feed, in a thread: another test may have left an event loop in this one."""

    async def body() -> T:
        feed = Feed(database, max_streams)
        await feed.start()
        try:
            return await asyncio.wait_for(use(feed), 30)
        finally:
            await feed.stop()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, body()).result()


def tell(database: Database, count: int = 1, run: str = "a", kind: str = "status") -> None:
    with database.write(durable=False) as session:
        for _ in range(count):
            publish(session, run, kind, {"run": run})


async def told(feed: Feed, viewer: Viewer, count: int) -> list[tuple[int, str]]:
    """The first `count` events of a viewer as (id, kind)."""
    events: list[tuple[int, str]] = []
    async for block in feed.frames(viewer):
        for frame in block.decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in frame.splitlines())
            if "id" in fields:
                events.append((int(fields["id"]), fields["event"]))
        if len(events) >= count:
            return events
    raise AssertionError("the feed ended")


def test_each_viewer_gets_what_it_asked_for(database: Database) -> None:
    async def use(feed: Feed) -> list[list[tuple[int, str]]]:
        viewers = [
            feed.subscribe(ALL, ALL, None),
            feed.subscribe(frozenset({"b"}), ALL, None),
            feed.subscribe(ALL, frozenset({"log"}), None),
        ]
        for run, kind in (("a", "status"), ("b", "status"), ("a", "log"), ("b", "log")):
            tell(database, 1, run, kind)
        return [await told(feed, viewer, count) for viewer, count in zip(viewers, (4, 2, 2), strict=True)]

    everything, of_b, logs = in_feed(database, use)
    assert everything == [(1, "status"), (2, "status"), (3, "log"), (4, "log")]
    assert of_b == [(2, "status"), (4, "log")]
    assert logs == [(3, "log"), (4, "log")]


def test_nothing_is_missed_or_told_twice(database: Database) -> None:
    """Three changes are there before the feed starts, three are new to it, one comes later."""
    tell(database, 3)

    async def use(feed: Feed) -> list[list[tuple[int, str]]]:
        tell(database, 3)  # the feed has had no moment yet in which to read them
        viewers = [feed.subscribe(ALL, ALL, after) for after in range(7)]
        tell(database)
        return [await told(feed, viewer, 7 - after) for after, viewer in enumerate(viewers)]

    for after, events in enumerate(in_feed(database, use, max_streams=7)):
        assert [seq for seq, _ in events] == list(range(after + 1, 8))


def test_a_number_of_another_database_means_fetching_afresh(database: Database) -> None:
    tell(database, 2)

    async def use(feed: Feed) -> list[tuple[int, str]]:
        viewer = feed.subscribe(ALL, ALL, 1_000_000)
        tell(database)
        return await told(feed, viewer, 2)

    assert in_feed(database, use) == [(2, "resync"), (3, "status")]


def test_what_was_pruned_means_fetching_afresh(database: Database) -> None:
    tell(database, 20)
    with database.write() as session:
        prune(session, kept=5)

    async def use(feed: Feed) -> list[list[tuple[int, str]]]:
        return [await told(feed, feed.subscribe(ALL, ALL, after), 1) for after in (14, 15)]

    lost, kept = in_feed(database, use)
    assert lost == [(20, "resync")]
    assert kept == [(seq, "status") for seq in range(16, 21)]


def test_too_far_behind_means_fetching_afresh(database: Database) -> None:
    tell(database, REPLAY_EVENTS + 2)

    async def use(feed: Feed) -> list[list[tuple[int, str]]]:
        return [await told(feed, feed.subscribe(ALL, ALL, after), 1) for after in (0, REPLAY_EVENTS)]

    late, nearly = in_feed(database, use)
    assert late == [(REPLAY_EVENTS + 2, "resync")]
    assert [seq for seq, _ in nearly] == [REPLAY_EVENTS + 1, REPLAY_EVENTS + 2]


def test_more_changes_than_one_read_takes_need_no_further_hint(database: Database) -> None:
    async def use(feed: Feed) -> list[tuple[int, str]]:
        viewer = feed.subscribe(frozenset({"last"}), ALL, None)
        with database.write() as session:
            for index in range(REPLAY_EVENTS + 10):
                publish(session, "last" if index == REPLAY_EVENTS + 9 else "a", "status", {})
        return await told(feed, viewer, 1)

    assert in_feed(database, use) == [(REPLAY_EVENTS + 10, "status")]


def test_a_viewer_too_slow_to_read_holds_a_bounded_queue(database: Database) -> None:
    async def use(feed: Feed) -> tuple[int, list[tuple[int, str]]]:
        slow, quick = feed.subscribe(ALL, ALL, None), feed.subscribe(frozenset({"b"}), ALL, None)
        tell(database, 3 * QUEUE_EVENTS)
        tell(database, 1, "b")
        await told(feed, quick, 1)
        held = slow.queue.qsize()
        return held, await told(feed, slow, 1)

    held, events = in_feed(database, use)
    assert held <= QUEUE_EVENTS
    assert events[0][1] == "resync"
    assert [seq for seq, _ in events[1:]] == list(range(events[0][0], 3 * QUEUE_EVENTS + 2))


def test_streams_are_counted_and_let_go(database: Database) -> None:
    async def use(feed: Feed) -> int:
        viewers = [feed.subscribe(ALL, ALL, None) for _ in range(3)]
        with pytest.raises(ApiError) as refused:
            feed.subscribe(ALL, ALL, None)
        assert refused.value.status == 503
        feed.leave(viewers[0])
        feed.subscribe(ALL, ALL, None)
        return feed.streams

    assert in_feed(database, use) == 3
