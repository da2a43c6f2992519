"""What the sender tells its script."""

from __future__ import annotations

import json
import socket
from typing import Any


class Reporter:
    """Tells the script, if it is still there, what its user has to know."""

    def __init__(self, descriptor: int) -> None:
        self._socket: socket.socket | None = socket.socket(fileno=descriptor) if descriptor >= 0 else None
        self._said: list[str] = []

    def notice(self, text: str) -> None:
        if text not in self._said:
            self._said.append(text)
            self.tell(notice=text)

    def forget(self) -> None:
        """Say again what was said before."""
        self._said.clear()

    def tell(self, **message: Any) -> None:
        print(json.dumps(message), flush=True)  # noqa: T201 (standard output is the session's log)
        if self._socket is not None:
            try:
                self._socket.sendall(json.dumps(message).encode() + b"\n")
            except OSError:
                self._socket = None
