"""The script's end of the connection to its sender: starts the process, hears what it has to say."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable

from trackside.notices import say, say_once
from trackside.spool import SpooledSession

# The client's own folder comes last: what is installed beside it must not stand in for the standard library.
PROGRAM = "import sys; sys.path.append(sys.argv[1]); from trackside.sender.program import main; main(*sys.argv[2:])"
RESTART_SECONDS = 10.0


class Link:
    """A sender for one session. It outlives the script; another is started if it dies before."""

    def __init__(self, session: SpooledSession, on_stop: Callable[[], None]) -> None:
        self._session = session
        self._on_stop = on_stop
        self._finishing = threading.Event()
        self._last = False  # the sender that was started when the script ended
        self._described = threading.Event()
        self._ended = threading.Event()
        self.outcome: dict[str, Any] = {}
        self._start()
        threading.Thread(target=self._listen, name="trackside", daemon=True).start()

    def _start(self) -> None:
        self._started = time.monotonic()
        ours, theirs = socket.socketpair()
        package = str(Path(__file__).parent.parent)
        command = [
            sys.executable, "-I", "-S", "-c", PROGRAM,
            package, str(self._session.folder), self._session.session, str(theirs.fileno()),
        ]  # fmt: skip
        with theirs, self._session.sender_log.open("ab") as log:
            self.process: subprocess.Popen[bytes] | None = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[theirs.fileno()],
                start_new_session=True,
            )  # fmt: skip
        self.socket = ours

    def _listen(self) -> None:
        while True:
            self._hear_all()
            if self.outcome or (self._finishing.is_set() and self._last):
                break
            # The sender has died. At the end of the script another one is started at once.
            self._finishing.wait(max(0.0, RESTART_SECONDS - (time.monotonic() - self._started)))
            self._last = self._finishing.is_set()
            try:
                if not self._session.facts_file.exists():
                    break
                self._start()
            except OSError:
                say_once(f"the sender cannot be started: send the run later with trackside sync {self._session.folder}")
                break
        self._ended.set()

    def _hear_all(self) -> None:
        """Hear what the sender says until it has exited."""
        with suppress(OSError), self.socket, self.socket.makefile("rb") as lines:
            for line in lines:
                self._hear(json.loads(line))
        if self.process is not None:
            self.process.wait()

    def _hear(self, message: dict[str, Any]) -> None:
        if "notice" in message:
            say(message["notice"])
        if message.get("stop"):
            self._on_stop()
        if message.get("described"):
            self._described.set()
        if "outcome" in message:
            self.outcome = message
            self._ended.set()

    def wait_described(self, seconds: float) -> None:
        """Wait until the sender has written the environment: of a script that ends at once it would be missing."""
        self._described.wait(seconds)

    def wait(self, seconds: float) -> dict[str, Any]:
        """Wait until the sender is done with a session that has ended, and return its outcome, empty if it is not."""
        self._finishing.set()
        self._ended.wait(seconds)
        if self.process is not None and self.process.poll() is None:
            self.process.returncode = 0  # it outlives this process on purpose: Popen would warn of it
        return self.outcome

    def forget(self) -> None:
        """In a forked child: the sender is the parent's."""
        if self.process is not None:
            self.process.returncode = 0
        descriptor = self.socket.detach()
        if descriptor >= 0:
            os.close(descriptor)
