"""The decoder host, and a slot of the pool: a decoder process that is started on first use and killed when needed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass

from app.prediction.wire import Header, RpcClient, WireError

KILL_SECONDS = 5.0  # freeing a gigabyte takes a tenth of a second


@dataclass
class DecoderHost:
    """The process that forks decoders. It exits when every copy of `control` is closed."""

    process: subprocess.Popen[bytes]
    control: socket.socket

    @classmethod
    def start(cls) -> DecoderHost:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "app.predictor.decoder"],
                stdin=theirs.fileno(),
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # it forks: no threads
            )
        return cls(process, ours)

    def close(self) -> None:
        self.control.close()
        self.process.wait()


class DecoderHostExited(Exception):
    """The process that forks decoders has exited: the serving process stops, and the parent restarts both."""


class _DecoderConnection(RpcClient):
    """`ended` is set when the decoder has exited."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = asyncio.Event()
        self.pid = 0

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.ended.set()


class Slot:
    """A slot of the pool. At most one process belongs to it at a time."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._connection: _DecoderConnection | None = None
        self._withdrawn = False

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    async def ask(self, header: Header, images: list[bytes], seconds: float) -> tuple[Header, bytes]:
        """Decode `images`. Raises WireError, TimeoutError and DecoderHostExited; the decoder has ended by then."""
        self._withdrawn = False
        try:
            if self._connection is None:
                self._connection = await self._start()
            if self._withdrawn:
                raise WireError("The images were withdrawn.")
            async with asyncio.timeout(seconds):
                return await self._connection.ask(header, *images)
        except WireError:
            await self._end()
            if self._host_has_exited():  # its exit closed the connection: the image is not the cause
                raise DecoderHostExited from None
            raise
        except BaseException:
            await self._end()
            raise

    async def _start(self) -> _DecoderConnection:
        """Make the host fork a decoder for a new connection. Raises WireError, DecoderHostExited."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(self._control, [b"+"], [theirs.fileno()])
            _, connection = await asyncio.get_running_loop().create_connection(_DecoderConnection, sock=ours)
        except OSError:
            ours.close()
            raise DecoderHostExited from None
        try:
            answer, _ = await connection.ask({})
        except BaseException:
            connection.close()
            raise
        connection.pid = answer["pid"]
        return connection

    def _host_has_exited(self) -> bool:
        try:
            return self._control.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def withdraw(self) -> None:
        """Have `ask` give up its images: the decoder is killed, and `ask` raises WireError."""
        self._withdrawn = True
        self._kill()

    def _kill(self) -> None:
        connection = self._connection
        if connection is not None and not connection.closed:  # its process exists as long as the connection does
            with suppress(ProcessLookupError):
                os.kill(connection.pid, signal.SIGKILL)

    async def _end(self) -> None:
        """Kill the decoder and wait until it has exited, so that its successor is not one too many."""
        try:
            if self._connection is not None:
                self._kill()
                with suppress(TimeoutError):
                    async with asyncio.timeout(KILL_SECONDS):
                        await self._connection.ended.wait()
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection, which ends an idle decoder."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
