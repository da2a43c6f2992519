"""The verdicts of all steps: lines of JSON as they come, and a summary for people at the end."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from pathlib import Path

from tests.gpu.verdict import Status, Verdict

ORDER: tuple[Status, ...] = ("passed", "failed", "not judged", "skipped", "measured")


class Report:
    """Writes each verdict to standard output, and to the file `out` if there is one."""

    def __init__(self, out: Path | None = None) -> None:
        self.verdicts: list[tuple[str, Verdict]] = []
        self._out = None if out is None else out.open("wb", buffering=0)
        self._lock = threading.Lock()  # a step's verdicts are read in a thread

    def add(self, step: str, verdict: Verdict) -> None:
        line = verdict.as_json(step=step)
        with self._lock:
            self.verdicts.append((step, verdict))
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
            if self._out is not None:
                self._out.write(line)

    def close(self) -> None:
        if self._out is not None:
            self._out.close()

    @property
    def failed(self) -> bool:
        return any(verdict.status == "failed" for _, verdict in self.verdicts)

    def summary(self) -> list[str]:
        """Return a line per verdict under the name of its step, the tables, and the number of verdicts by status."""
        lines, last = [], ""
        for step, verdict in self.verdicts:
            if step != last:
                lines += ["", step]
                last = step
            mark = f" (mark: {verdict.mark})" if verdict.mark else ""
            measured = f": {verdict.measured}" if verdict.measured else ""
            lines.append(f"  {verdict.status:<10}  {verdict.what}{measured}{mark}")
            lines += [f"              {line}" for line in verdict.lines]
        counts = Counter(verdict.status for _, verdict in self.verdicts)
        return [*lines, "", ", ".join(f"{counts[status]} {status}" for status in ORDER if counts[status])]
