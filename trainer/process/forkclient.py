"""The worker's client of the fork server. Free of torch: the server is a separate program."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import orjson

from trainer.process.assignment import AnyAssignment
from trainer.process.threads import SPIN_LIMIT


class ForkServer:
    """Starts the fork server, which loads torch in the background, and requests processes from it."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "trainer.process.forkserver", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env={**SPIN_LIMIT, **(os.environ if environment is None else environment)},
            )
        self._socket = ours
        self._file = ours.makefile("rwb")
        self.ready = False

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self) -> None:
        """Return once torch is loaded. Raises ConnectionError: the fork server has exited."""
        if not self.ready:
            self._answer()
            self.ready = True

    def start(self, assignment: AnyAssignment) -> int:
        """Fork a trainer and return its pid. Raises ConnectionError: the fork server has exited."""
        return self._ask(assignment.as_dict())

    def _ask(self, request: dict[str, Any]) -> int:
        self.wait_ready()
        try:
            self._file.write(orjson.dumps(request, option=orjson.OPT_APPEND_NEWLINE))
            self._file.flush()
        except OSError as error:
            raise ConnectionError("the fork server is gone") from error
        return int(self._answer()["pid"])

    def _answer(self) -> dict[str, Any]:
        line = self._file.readline()
        if not line:
            raise ConnectionError("the fork server is gone")
        answer: dict[str, Any] = orjson.loads(line)
        return answer

    def close(self) -> None:
        """End the fork server and wait for it. Its children keep running."""
        if not self.ready:  # it has no children, and may have seconds of loading ahead of it
            self._process.kill()
        self._file.close()
        self._socket.close()
        self._process.wait()
