"""The devices that can train one run together, and which of them are free.

A worker serves one device. The one that claims a run on several takes those of other workers for it: they claim no run
as long as that one is active, whoever holds it. So nothing has to be given back, whatever dies.

The devices of this machine are one pool, those of all nodes another one.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from sqlmodel import Session, col, select

from app.host.identity import host_name, is_alive
from app.host.workers import HEARTBEAT_TIMEOUT, devices_in_use, is_on_node, kind_of, lent_devices, node_of
from app.storage.tables import Worker, now


@dataclass(frozen=True)
class Pool:
    """The devices with a worker that is alive and may train on them, of the same kind as `own`. Active runs train on
    those that are `taken`; their workers have `lent` some of these to a run of another worker."""

    own: str
    devices: frozenset[str]
    taken: frozenset[str]
    lent: frozenset[str]

    @classmethod
    def now(cls, session: Session, worker: str, device: str) -> Pool:
        """As it is in the transaction of `session`, for the worker `worker` of `device`."""
        here, kind = None if is_on_node(device) else host_name(), kind_of(device)
        recent = select(Worker).where(col(Worker.seen_at) > now() - HEARTBEAT_TIMEOUT, col(Worker.ready).is_(True))
        found = session.exec(recent.where(Worker.id != worker)).all()
        others = {
            row.device
            for row in found
            if (row.host == here or (here is None and is_on_node(row.device)))
            and kind_of(row.device) == kind
            and is_alive(row.id)
        }
        used, lent = devices_in_use(session, here), lent_devices(session, here)
        return cls(device, frozenset({device, *others}), frozenset(used), frozenset(lent))

    def others_for(self, count: int) -> list[str] | None:
        """Return the other devices for a run on `count`; None if these are not free now, or others suit it better.

        A run trains on as few nodes as possible: an exchange between machines takes longer.
        """
        if count == 1:
            return None if self.own in self.lent else []
        free = self.devices - self.taken
        if self.own not in free or len(free) < count:
            return None
        chosen = self._gathered(free)[:count]
        # The worker of one of these claims the run.
        return [device for device in chosen if device != self.own] if self.own in chosen else None

    def _gathered(self, free: frozenset[str]) -> list[str]:
        """The free devices in the order in which they are taken: those of the node with the most of them first."""
        nodes: defaultdict[str, list[str]] = defaultdict(list)
        for device in free:
            nodes[node_of(device)].append(device)
        mine = node_of(self.own)
        order = sorted(nodes, key=lambda node: (-len(nodes[node]), node != mine, node))
        return [
            name for node in order for name in sorted(nodes[node], key=lambda name: (name != self.own, place(name)))
        ]


def place(device: str) -> tuple[int, str]:
    """Sorts "cuda:10" behind "cuda:9"."""
    number = device.partition(":")[2]
    return (int(number) if number.isdecimal() else 0), device
