"""How often a password may be tried: in the last minute, by one peer and by all together."""

from __future__ import annotations

import ipaddress
from collections import deque

SECONDS = 60.0
BY_PEER = 5
IN_ALL = 30


class LoginAttempts:
    """Attempts count when they begin, so that many at once gain nothing. At most IN_ALL are remembered."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, str]] = deque()

    def take(self, address: str, now: float) -> float:
        """0 if there may be an attempt, which is counted; else the seconds until there may."""
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
        """After the right password."""
        peer = peer_of(address)
        self._recent = deque(item for item in self._recent if item[1] != peer)


def peer_of(address: str) -> str:
    """Whoever has one address of IPv6 has its whole /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
