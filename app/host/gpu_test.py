"""Asks PyTorch, in a process that ends with its answer, which GPUs there are and whether they can be trained on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence

from pydantic import ValidationError

from trainer.system.gpus import VISIBLE, Gpu, GpuReport

COMMAND = (sys.executable, "-m", "trainer.models.gpus")
LONGEST_SECONDS = 120.0  # importing PyTorch takes 20 s on a busy machine
RETRY_SECONDS = 60.0
NAMED = ("MIG-", "GPU-")  # how the UUIDs of MIG instances and GPUs begin


class Question:
    """One process that answers. `visible` is its CUDA_VISIBLE_DEVICES; None leaves this process's own."""

    def __init__(self, visible: str | None = None, command: Sequence[str] = COMMAND) -> None:
        environment = dict(os.environ) if visible is None else {**os.environ, VISIBLE: visible}
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._deadline = time.monotonic() + LONGEST_SECONDS

    def answer(self) -> GpuReport | None:
        """Return the answer; None as long as there is none."""
        status = self._process.poll()
        if status is None:
            return None if time.monotonic() < self._deadline else self._give_up()
        return self._read(status)

    def wait(self) -> GpuReport:
        try:
            return self._read(self._process.wait(LONGEST_SECONDS))
        except subprocess.TimeoutExpired:
            return self._give_up()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _read(self, status: int) -> GpuReport:
        output = self._process.communicate()[0]  # less than a pipe holds
        try:
            return GpuReport.model_validate_json(output)
        except ValidationError:
            return GpuReport(problem=f"the test of the GPUs ended with status {status} and no answer")

    def _give_up(self) -> GpuReport:
        self.close()
        return GpuReport(problem=f"the GPUs did not answer within {LONGEST_SECONDS:.0f} s")


class DeviceTest:
    """Whether a device can be trained on, tested before its worker claims anything, and again while it cannot."""

    def __init__(self, device: str, command: Sequence[str] = COMMAND) -> None:
        kind, _, self._entry = device.partition(":")
        self._command = command
        self._question: Question | None = None
        self._ask_at = 0.0
        self.passed = kind != "cuda"
        self.gpu: Gpu | None = None
        self.problem: str | None = None

    def look(self, now: float) -> bool:
        """Return whether the device has passed; starts a test and reads its result. Never waits."""
        if self.passed:
            return True
        if self._question is None:
            if now < self._ask_at:
                return False
            self._question = Question(self._entry if self._entry.startswith(NAMED) else None, self._command)
        report = self._question.answer()
        if report is not None:
            self._question, self._ask_at = None, now + RETRY_SECONDS
            self.gpu, self.problem = self._find(report)
            self.passed = self.problem is None
        return self.passed

    def close(self) -> None:
        if self._question is not None:
            self._question.close()

    def _find(self, report: GpuReport) -> tuple[Gpu | None, str | None]:
        number = 0 if self._entry.startswith(NAMED) else int(self._entry or 0)
        if report.problem is not None:
            return None, report.problem
        if number >= len(report.gpus):
            seen = len(report.gpus)
            return None, f"PyTorch sees {seen} GPU{'' if seen == 1 else 's'} here: is {VISIBLE} set as it should be?"
        return report.gpus[number], report.gpus[number].problem
