"""How the ranks on other machines reach torch.distributed's store, which trusts whoever connects to it.

It listens on the loopback address of rank 0's machine. Another rank connects to its own loopback address, from where
each connection is continued by one to rank 0 that proves who it is.
"""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import suppress

from trainer.process.meeting import STORE, Meeting, connect, listen

LOOPBACK = "127.0.0.1"
BLOCK_BYTES = 1 << 16

log = logging.getLogger(__name__)


def entrance(meeting: Meeting, rank: int) -> int:
    """Return the port of the loopback address at which `rank` reaches the store of rank 0."""
    waiting = listen(LOOPBACK)

    def serve() -> None:
        while True:
            near, _ = waiting.accept()
            try:
                join(near, connect(meeting, rank, STORE))
            except OSError as error:
                log.warning("no connection to the store of rank 0: %s", error)
                near.close()

    threading.Thread(target=serve, name="entrance", daemon=True).start()
    port: int = waiting.getsockname()[1]
    return port


def join(near: socket.socket, far: socket.socket) -> None:
    """Pass on what each of the two sends to the other, until one of them ends."""
    for source, target in ((near, far), (far, near)):
        threading.Thread(target=_copy, args=(source, target), name="tunnel", daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(BLOCK_BYTES):
            target.sendall(data)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
