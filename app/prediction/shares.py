"""A limit on what waits, shared by clients: when it is reached, those that hold more than their share are refused."""

from __future__ import annotations


class Shares:
    """`total` is what all clients hold. A single request may be larger than the limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[str, int] = {}
        self.total = 0

    def take(self, client: str, count: int = 1) -> bool:
        """Add `count` to what the client holds; return False, and add nothing, if that is too much."""
        if self.total and self.total + count > self._limit and not self._is_within_share(client, count):
            return False
        self._held[client] = self._held.get(client, 0) + count
        self.total += count
        return True

    def give_back(self, client: str, count: int = 1) -> None:
        self.total -= count
        self._held[client] -= count
        if not self._held[client]:
            del self._held[client]

    def _is_within_share(self, client: str, count: int) -> bool:
        others = len(self._held) - (client in self._held)
        return others > 0 and self._held.get(client, 0) + count <= self._limit // (others + 1)
