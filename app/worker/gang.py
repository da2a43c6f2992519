"""The places of a run on several devices of nodes, in the order of their ranks, and the part of each."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from app.host.workers import node_of
from app.worker.seat_calls import SeatCalls
from trainer.node.calls import Part

ONE_MACHINE = "127.0.0.1"  # nothing is open to others


@dataclass(frozen=True)
class Place:
    """A device of a node under its name in the home. `shipping` is held while something is sent to its machine."""

    device: str
    seat: SeatCalls
    shipping: threading.Lock


@dataclass(frozen=True)
class Gang:
    places: tuple[Place, ...]

    def address_of(self, rank: int) -> str:
        """The address of a rank's machine for the other ranks. Raises Unreachable: the machine is not there."""
        nodes = {node_of(place.device) for place in self.places}
        return ONE_MACHINE if len(nodes) == 1 else self.places[rank].seat.address

    def part(self, rank: int, address: str, meeting: bytes = b"") -> Part:
        node = node_of(self.places[rank].device)
        sharing = sum(node_of(place.device) == node for place in self.places)
        others = tuple(place.device for place in self.places[1:])
        return Part(rank, len(self.places), address, sharing, others, meeting)
