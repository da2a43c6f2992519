"""Starts trainers on this machine through a fork server. Free of torch."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from trainer.process.assignment import AnyAssignment
from trainer.process.forkclient import ForkServer

log = logging.getLogger(__name__)


class Starter:
    """The trainers that it has started go on without it. `environment` is theirs; None: that of this process."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = environment
        self._forkserver: ForkServer | None = None

    def prepare(self) -> None:
        """Start the fork server, which loads torch in the background."""
        self._forkserver = ForkServer(self._environment)

    def start(self, assignment: AnyAssignment) -> int | None:
        """Fork a trainer and return its pid; None if the fork server failed twice in a row."""
        for _ in range(2):
            if self._forkserver is None:
                self.prepare()
            assert self._forkserver is not None
            try:
                return self._forkserver.start(assignment)
            except ConnectionError:
                log.warning("the fork server is gone: starting another")
                self._forkserver = None
        return None

    def close(self) -> None:
        if self._forkserver is not None:
            self._forkserver.close()
