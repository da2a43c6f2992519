"""A link that delays packets and loses some: a process between two TAP devices, where the kernel has no netem.

`python -m tests.cluster.slow_link A B SECONDS SHARE` makes the devices, and forwards between them until it is killed.
"""

from __future__ import annotations

import fcntl
import os
import random
import select
import struct
import sys
import time
from collections import deque

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
LARGEST = 1 << 16


def tap(name: str) -> int:
    """A new TAP device, which is there until its descriptor is closed."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))
    return fd


def forward(one: int, other: int, delay: float, share: float, draw: random.Random) -> None:
    opposite = {one: other, other: one}
    waiting: deque[tuple[float, int, bytes]] = deque()  # when a packet is due, where, and the packet
    while True:
        rest = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        for fd in select.select([one, other], [], [], rest)[0]:
            packet = os.read(fd, LARGEST)
            if draw.random() >= share:
                waiting.append((time.monotonic() + delay, opposite[fd], packet))
        while waiting and waiting[0][0] <= time.monotonic():
            _, target, packet = waiting.popleft()
            os.write(target, packet)


def main(first: str, second: str, delay: float, share: float) -> None:
    ends = tap(first), tap(second)
    print("ready", flush=True)  # noqa: T201
    forward(*ends, delay, share, random.Random(0))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
