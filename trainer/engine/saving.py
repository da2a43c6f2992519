"""Checkpoints of a run in training: its thread copies the tensors, another one writes them."""

from __future__ import annotations

import copy
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from trainer.engine.combining import random_states
from trainer.engine.context import Context
from trainer.engine.instructions import RandomStates, as_message
from trainer.engine.moments import Moment
from trainer.engine.trainee import Progress, Trainee
from trainer.models import checkpoint
from trainer.rundir.checkpoints import CheckpointInfo, last_checkpoint, remove_checkpoints, superseded_checkpoints
from trainer.rundir.events import EventWriter

log = logging.getLogger(__name__)


class Saver:
    """Saves one checkpoint at a time. Hashing, writing and syncing happen in a thread of its own.

    A checkpoint's event is emitted only once it is durable, by the thread that trains: in `poll`, `finish`, the next
    `save`, or at the end of the context. These raise OSError (a full disk).
    """

    def __init__(self, run_dir: Path, events: EventWriter) -> None:
        self._run_dir, self._events = run_dir, events
        self._thread = ThreadPoolExecutor(1, "saver")
        self._writing: Future[CheckpointInfo] | None = None
        self._improved = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            self.finish()
        except (OSError, RuntimeError):
            if error is None:
                raise
            log.exception("the last checkpoint is not saved")  # the run ends with the first error
        finally:
            self._thread.shutdown()

    def save(self, context: Context, trainee: Trainee, progress: Progress, epoch: int, *, best: bool) -> None:
        """Begin to save a checkpoint if the weights are finite, after the one before it is written."""
        self.finish()
        known = last_checkpoint(self._run_dir)
        if known is not None and known.step == progress.step:
            return
        if not trainee.is_finite():
            line = f"step {progress.step:,} is not saved: its loss or its weights are not finite"
            self._events.emit("log", line=line)
            return
        if trainee.scaler is not None:
            progress.scaler = trainee.scaler.state_dict()
        tensors = {name: copied(tensor) for name, tensor in trainee.tensors().items()}
        if context.ranks.are_several:
            context.ranks.tell(as_message(RandomStates()))
            tensors |= random_states(context.ranks, context.device)
        state = copy.deepcopy(vars(progress))
        self._improved = best and len(context.data.val_rows) > 0  # without a validation split the last is the best
        self._writing = self._thread.submit(self._write, Moment(context.device), tensors, state, epoch, best)

    def poll(self) -> None:
        """Emit the event of the checkpoint that was being written, if it is by now."""
        if self._writing is not None and self._writing.done():
            self.finish()

    def finish(self) -> None:
        """Wait for the checkpoint that is being written, emit its event, and delete superseded checkpoints."""
        if self._writing is None:
            return
        writing, self._writing = self._writing, None
        info = writing.result()
        self._events.emit("checkpoint", **info.model_dump())
        self._events.emit("log", line=f"saved step {info.step:,}{', the best so far' if self._improved else ''}")
        if old := superseded_checkpoints(self._run_dir):
            self._events.emit("pruned", steps=old)
            remove_checkpoints(self._run_dir, old)

    def _write(
        self, copies: Moment, tensors: dict[str, Tensor], state: dict[str, Any], epoch: int, best: bool
    ) -> CheckpointInfo:
        copies.wait()
        self._events.sync()  # all events before a checkpoint must be durable
        step, metrics = state["step"], state["validation"]
        return checkpoint.save(self._run_dir, tensors, state, step=step, epoch=epoch, metrics=metrics, best=best)


def copied(tensor: Tensor) -> Tensor:
    """Copy a tensor that the next step changes to the CPU: from a GPU to pinned memory, without waiting for it."""
    if tensor.device.type == "cpu":
        return tensor.detach().clone(memory_format=torch.contiguous_format)
    return tensor.detach().to("cpu", non_blocking=tensor.device.type == "cuda")
