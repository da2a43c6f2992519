"""Rate limit of login attempts. Attempts wait for their turn for a few seconds before one is refused.

Wrong guesses of one client leave room for others: each peer has its own rate, peers that have not failed within a
minute share another one than those that have, and a browser in which somebody has signed in before has its own.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

FRESH_SECONDS = 60.0
MOST_SECONDS = 5.0  # the longest wait; an attempt that would wait longer is refused


@dataclass(frozen=True)
class Rate:
    """`burst` attempts at once, then one per `seconds`."""

    burst: int
    seconds: float


BY_PEER = Rate(5, 2.0)
IN_ALL = Rate(10, 1.0)


class Line:
    """The turns of attempts at a rate (a generic cell rate algorithm)."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._free_at = 0.0  # when all of the burst is available again
        self.last = 0.0

    def wait(self, now: float) -> float:
        """The seconds until the next turn."""
        return max(0.0, self._free_at - (self._rate.burst - 1) * self._rate.seconds - now)

    def take(self, now: float) -> None:
        self._free_at = max(self._free_at, now) + self._rate.seconds
        self.last = now


@dataclass(frozen=True)
class Turn:
    """An attempt that may be checked after `seconds`; if `refused`, another may be made after them."""

    seconds: float
    refused: bool = False


class LoginAttempts:
    """Attempts are counted when they start, so that concurrent ones are limited too."""

    def __init__(self) -> None:
        self._peers: dict[str, Line] = {}
        self._fresh, self._failing = Line(IN_ALL), Line(IN_ALL)

    def take(self, address: str, now: float, browser: str | None = None) -> Turn:
        """Count an attempt from `address`, or of a known `browser`, and return when it may be checked.

        `now` is in seconds of any monotonic clock.
        """
        self._peers = {peer: line for peer, line in self._peers.items() if now - line.last < FRESH_SECONDS}
        peer = _key(address, browser)
        own = self._peers.get(peer)
        lines = [Line(BY_PEER) if own is None else own]
        if browser is None:
            lines.append(self._fresh if own is None else self._failing)
        wait = max(line.wait(now) for line in lines)
        if wait > MOST_SECONDS:
            return Turn(wait - MOST_SECONDS, refused=True)
        for line in lines:
            line.take(now)
        self._peers[peer] = lines[0]
        return Turn(wait)

    def forget(self, address: str, browser: str | None = None) -> None:
        """Drop the attempts of a peer or a known browser, after the correct password."""
        self._peers.pop(_key(address, browser), None)


def _key(address: str, browser: str | None) -> str:
    return peer_of(address) if browser is None else f"browser {browser}"


def peer_of(address: str) -> str:
    """Return the peer of an address. IPv6 addresses are grouped by /64, which one host usually has to itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
