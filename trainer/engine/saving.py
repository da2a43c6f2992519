"""Checkpoints of a run in training."""

from __future__ import annotations

from trainer.engine.context import Context
from trainer.engine.trainee import Progress, Trainee
from trainer.models import checkpoint
from trainer.rundir.checkpoints import last_checkpoint, remove_checkpoints, superseded_checkpoints


def save(context: Context, trainee: Trainee, progress: Progress, epoch: int, *, best: bool) -> None:
    """Save a checkpoint if the weights are finite, emit its event, and delete superseded checkpoints."""
    run_dir, events = context.run_dir, context.events
    known = last_checkpoint(run_dir)
    if known is not None and known.step == progress.step:
        return
    if not trainee.is_finite():
        events.emit("log", line=f"step {progress.step:,} is not saved: its loss or its weights are not finite")
        return
    if trainee.scaler is not None:
        progress.scaler = trainee.scaler.state_dict()
    events.sync()  # all events before a checkpoint must be durable
    info = checkpoint.save(
        run_dir,
        trainee.tensors(),
        dict(vars(progress)),
        step=progress.step,
        epoch=epoch,
        metrics=progress.validation,
        best=best,
    )
    events.emit("checkpoint", **info.model_dump())
    is_best = best and len(context.data.val_rows) > 0  # without a validation split the last is kept as the best
    events.emit("log", line=f"saved step {info.step:,}{', the best so far' if is_best else ''}")
    if old := superseded_checkpoints(run_dir):
        events.emit("pruned", steps=old)
        remove_checkpoints(run_dir, old)
