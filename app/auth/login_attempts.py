"""Rate limit of login attempts, per minute: per peer and in total."""

from __future__ import annotations

import ipaddress
from collections import deque

SECONDS = 60.0
BY_PEER = 5
IN_ALL = 30


class LoginAttempts:
    """Attempts are counted when they start, so that concurrent ones are limited too. At most IN_ALL are stored."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, str]] = deque()

    def take(self, address: str, now: float) -> float:
        """Count an attempt and return 0, or return the seconds until the next attempt is allowed.

        `now` is in seconds of any monotonic clock.
        """
        while self._recent and self._recent[0][0] <= now - SECONDS:
            self._recent.popleft()
        peer = peer_of(address)
        own = [when for when, other in self._recent if other == peer]
        waits = [self._recent[0][0]] if len(self._recent) >= IN_ALL else []
        waits += [own[0]] if len(own) >= BY_PEER else []
        if waits:
            return max(waits) + SECONDS - now
        self._recent.append((now, peer))
        return 0.0

    def forget(self, address: str) -> None:
        """Drop a peer's attempts, after the correct password."""
        peer = peer_of(address)
        self._recent = deque(item for item in self._recent if item[1] != peer)


def peer_of(address: str) -> str:
    """Return the peer of an address. IPv6 addresses are grouped by /64, which one host usually has to itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
