"""Decides how a run on a CPU is executed: as remembered from an earlier run, or as a probe finds out."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.engine.context import Context
from trainer.engine.loss import ClassWeights, batch_loss
from trainer.engine.probe import FIRST_IMAGES, STEP_SECONDS, fastest
from trainer.engine.trainee import Trainee
from trainer.plan.execution import Precision, Verdict, Verdicts, Workload
from trainer.system.parallel import available_cores


class Tuning:
    """`cache` is the folder of the verdicts; None remembers nothing."""

    def __init__(self, context: Context, batch_size: int, size: int, cache: Path | None) -> None:
        spec = context.spec
        self._context = context
        self._verdicts = Verdicts(cache)
        self._workload = Workload(
            torch.__version__, available_cores(), spec.model, batch_size, size, spec.precision, threads_of(context)
        )
        self._verdict = self._verdicts.get(self._workload)

    @property
    def known_to_compile(self) -> bool | None:
        """Whether compiled steps were faster in an earlier run; None if none tried."""
        return None if self._verdict is None else self._verdict.compile

    def execution(
        self, trainee: Trainee, images: Tensor, labels: Tensor, class_weights: ClassWeights, step_seconds: float
    ) -> dict[str, Any]:
        """Return the values of a decision: the fastest execution, and what each that was tried took.

        `images` float32 B×3×H×W and `labels` are a batch, a step of which takes `step_seconds` at present.
        """
        remembered = self._verdict is not None
        if self._verdict is None:
            count = max(FIRST_IMAGES, min(len(labels), round(len(labels) * STEP_SECONDS / max(step_seconds, 1e-6))))
            spec, now = self._context.spec, self._context.runtime.execution
            precisions: tuple[Precision, ...] = ("float32", "bf16") if spec.precision == "auto" else (now.precision,)
            probe = fastest(
                trainee.stepped,
                images[:count],
                labels[:count],
                lambda logits, targets: batch_loss(spec, logits, targets, class_weights),
                now,
                precisions,
                threads_are_free=not threads_of(self._context),
            )
            milliseconds = {str(execution): round(1e3 * took, 2) for execution, took in probe.seconds.items()}
            self._verdict = Verdict(probe.chosen, milliseconds)
            if not probe.busy:
                self._verdicts.put(self._workload, self._verdict)
        found = self._verdict
        return {**asdict(found.execution), "milliseconds": found.milliseconds, "remembered": remembered}

    def tried_to_compile(self, *, faster: bool) -> None:
        """Remember whether compiled steps were faster than eager ones."""
        stored = self._verdicts.get(self._workload)
        if stored is not None:
            self._verdicts.put(self._workload, replace(stored, compile=faster))


def threads_of(context: Context) -> int:
    """Return the number of threads that the user has chosen, 0 for none."""
    return context.spec.threads or (torch.get_num_threads() if os.environ.get("OMP_NUM_THREADS") else 0)
