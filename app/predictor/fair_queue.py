"""A queue that divides time fairly: between clients, and between the requests of each client.

Fair queueing by virtual time (Demers, Keshav and Shenker 1989; Goyal, Vin and Cheng 1996): a client has a clock that
advances by the time its items took, and the client whose clock is furthest behind is served next. A client that sends
more items, or slower ones, delays itself. The same holds for the requests of one client, so that a request of 64 images
does not delay another one of a single image: behind a proxy that hides the addresses, all requests have one client.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Hashable, Sized
from dataclasses import dataclass
from itertools import count
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
Q = TypeVar("Q", bound=Sized)

_KEPT_IDLE = 64  # flows, before those that have nothing to remember are removed


class Sender(NamedTuple):
    """Who sent an item: the client's name (an address or a token), and the number of its request."""

    client: str
    request: int


@dataclass
class _Flow(Generic[Q]):
    queue: Q
    clock: float  # virtual time at which its next item starts


class _Turns(Generic[K, Q]):
    """Flows that take turns, the one with the earliest clock first."""

    def __init__(self) -> None:
        self._time = 0.0  # virtual: no clock of a waiting flow is earlier
        self._flows: dict[K, _Flow[Q]] = {}
        self._heap: list[tuple[float, int, K]] = []  # of the flows that wait, each with a clock that it had
        self._order = count()

    def __len__(self) -> int:
        return len(self._heap)

    def to_extend(self, key: K, new: Callable[[], Q]) -> Q:
        """Return the queue of a flow, to which the caller adds an item."""
        flow = self._flows.get(key)
        if flow is None:
            flow = self._flows[key] = _Flow(new(), self._time)
        if not len(flow.queue):
            flow.clock = max(flow.clock, self._time)
            heapq.heappush(self._heap, (flow.clock, next(self._order), key))
        return flow.queue

    def first(self) -> Q:
        """Return the queue of the flow that is next. Raises IndexError if none waits."""
        while True:
            clock, _, key = self._heap[0]
            flow = self._flows[key]
            if flow.clock <= clock:
                return flow.queue
            heapq.heapreplace(self._heap, (flow.clock, next(self._order), key))  # it was charged since

    def advance(self, cost: float) -> None:
        """Let the flow that is next pay for the item that was taken from its queue."""
        clock, _, key = self._heap[0]
        flow = self._flows[key]
        # Virtual time passes more slowly the more flows share the time.
        self._time = max(clock, self._time + cost / len(self._heap))
        flow.clock = clock + cost
        if len(flow.queue):
            heapq.heapreplace(self._heap, (flow.clock, next(self._order), key))
            return
        heapq.heappop(self._heap)
        if len(self._flows) > 2 * len(self._heap) + _KEPT_IDLE:
            self._flows = {key: flow for key, flow in self._flows.items() if len(flow.queue) or flow.clock > self._time}

    def charge(self, key: K, seconds: float) -> Q | None:
        """Add `seconds` to a flow's clock. Returns its queue."""
        flow = self._flows.get(key)
        if flow is None:
            return None
        flow.clock = max(self._time, flow.clock + seconds)
        return flow.queue


class FairQueue(Generic[T]):
    def __init__(self) -> None:
        self._clients: _Turns[str, _Turns[int, deque[tuple[float, T]]]] = _Turns()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, sender: Sender, item: T, cost: float) -> None:
        """Add an item that is expected to take `cost` seconds."""
        requests = self._clients.to_extend(sender.client, _Turns)
        requests.to_extend(sender.request, deque).append((cost, item))
        self._length += 1

    def head(self) -> T:
        """Return the item that `pop` would return. Raises IndexError if the queue is empty."""
        return self._clients.first().first()[0][1]

    def pop(self) -> T:
        """Remove and return the next item. Raises IndexError if the queue is empty."""
        requests = self._clients.first()
        cost, item = requests.first().popleft()
        requests.advance(cost)
        self._clients.advance(cost)
        self._length -= 1
        return item

    def charge(self, sender: Sender, seconds: float) -> None:
        """Correct the clocks of a sender by how much longer (or shorter, negative) an item took than expected."""
        if (requests := self._clients.charge(sender.client, seconds)) is not None:
            requests.charge(sender.request, seconds)
