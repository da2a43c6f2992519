"""The predictor: `python -m app.predictor`. A small parent imports torch once and forks the child that serves.

The parent holds the listening socket and never runs a torch operation, so that forking stays safe. A child that dies
is replaced within milliseconds; clients that connect in between wait in the socket's backlog.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType

from app.prediction.wire import BACKLOG, socket_address
from app.predictor.decoder_process import DecoderHost
from app.settings import Settings

NICE = 5  # lower priority than the web process and training, which have the same one
CHECK_SECONDS = 1.0
STOP_CHECKS = 5  # SIGTERM at each of these, then SIGKILL
MAX_BACKOFF_SECONDS = 10.0

Serve = Callable[[Settings, socket.socket, socket.socket, socket.socket], None]

log = logging.getLogger("app.predictor")


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s predictor %(levelname)s %(message)s")
    settings = Settings()
    # Threads of NumPy's BLAS, started at import, would not survive the forks. Nothing here needs them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    listener = listen(settings)
    os.nice(NICE)
    Parent(settings, listener).run()


def listen(settings: Settings) -> socket.socket:
    """Listen on the home's socket, with mode 0600. A socket that is already there is replaced."""
    path = settings.predictor_socket
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with socket_address(fresh) as address:
        listener.bind(address)
    fresh.chmod(0o600)
    listener.listen(BACKLOG)
    fresh.rename(path)
    return listener


class Parent:
    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._decoders = DecoderHost.start()
        self._settings = settings
        self._listener = listener
        self._inode = settings.predictor_socket.stat().st_ino
        self._started_by = os.getppid()
        self._child = 0
        self._stopping = False

    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)
        serving = importlib.import_module("app.predictor.serving")  # torch, after the socket listens
        gc.collect()
        gc.freeze()
        failures = 0
        while not self._stopping:
            if self._decoders.process.poll() is not None:
                self._decoders = DecoderHost.start()
            failures = 0 if self._watch(self._fork(serving.serve)) else failures + 1
            if failures and not self._stopping:
                time.sleep(min(MAX_BACKOFF_SECONDS, 0.1 * 2**failures))
        self._decoders.close()
        self._unlink()

    def _fork(self, serve: Serve) -> socket.socket:
        """Fork the serving child. Return the parent's end of a socket pair, by which each sees the other's exit."""
        ours, theirs = socket.socketpair()
        self._child = os.fork()
        if self._child:
            theirs.close()
            log.info("serving in process %d", self._child)
            return ours
        ours.close()
        code = 1
        try:
            for number in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            serve(self._settings, self._listener, theirs, self._decoders.control)
            code = 0
        except BaseException:  # top level of the process
            log.exception("the serving process failed")
        finally:
            os._exit(code)

    def _watch(self, child_end: socket.socket) -> bool:
        """Wait until the child exits; return whether it had started to serve.

        The child is told to stop when this process stops, or when the process that started the predictor exits.
        """
        signals, served = 0, False
        with child_end:
            while True:
                if select.select([child_end], [], [], CHECK_SECONDS)[0]:
                    if not child_end.recv(1):
                        break
                    served = True
                if os.getppid() != self._started_by and not self._stopping:
                    log.info("the process that started this one is gone")
                    self._stopping = True
                if self._stopping:
                    self._signal_child(signal.SIGTERM if signals < STOP_CHECKS else signal.SIGKILL)
                    signals += 1
        _, status = os.waitpid(self._child, 0)
        self._child = 0
        if not self._stopping:
            log.warning("the serving process ended (%s); starting another", os.waitstatus_to_exitcode(status))
        return served

    def _stop(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        self._stopping = True
        self._signal_child(signal.SIGTERM)

    def _signal_child(self, number: int) -> None:
        if self._child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, number)

    def _unlink(self) -> None:
        path = self._settings.predictor_socket
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == self._inode:
                path.unlink()
