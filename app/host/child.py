"""A process that `serve` starts, and starts again when it ends."""

from __future__ import annotations

import logging
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)


@dataclass
class Child:
    name: str
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    output: Path | None = None  # instead of the output of `serve`
    ends_with: str | None = None  # the name of another child without which it cannot go on
    started_at: float = 0.0
    failures: int = 0
    restart_at: float = 0.0

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)

    def wait_or_kill(self, deadline: float) -> None:
        """Wait for the process to exit; kill it at `deadline`, in seconds of the monotonic clock."""
        if self.process is None:
            return
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("%s did not end: killing it", self.name)
            self.process.kill()
            self.process.wait()
