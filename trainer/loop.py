"""Training, read from top to bottom: load, restore, step, log, evaluate, save, test."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from trainer import checkpoint
from trainer.augment import EpochDraws, draw_epoch, gather
from trainer.data.resident import ResidentData, channel_constants, load_resident, normalise
from trainer.device import pick_precision, prepare
from trainer.evaluate import batch_loss, clean_rows, evaluate, needs_clean
from trainer.events import EventWriter
from trainer.models import build_model, count_parameters
from trainer.optim import build_optimizer, restore_state, set_rate, state_tensors
from trainer.rundir import extended_epochs, read_spec
from trainer.schedule import is_logged, learning_rate, log_interval, make_plan
from trainer.spec import TrainSpec

ONE_BATCH_EVALUATIONS = 20


class Diverged(RuntimeError):
    """The training loss is no longer a number."""

    def __init__(self, step: int) -> None:
        self.step = step
        super().__init__(f"The training loss became non-finite at step {step}: try a lower learning rate.")


@dataclass
class Progress:
    """What a checkpoint has to carry beside tensors. `window_*` sum up the steps since the last logged one."""

    step: int = 0
    best_acc: float = -1.0
    best_step: int = 0
    validation: dict[str, float] = field(default_factory=dict)
    window_steps: int = 0


@dataclass(frozen=True)
class Outcome:
    reason: str
    step: int
    summary: dict[str, float]


def train(
    run_dir: Path,
    datasets: Path,
    device_name: str,
    attempt: int,
    events: EventWriter,
    should_stop: Callable[[], bool],
) -> Outcome:
    """Train the run in `run_dir` from its last good checkpoint, or from the start, until done or told to stop.

    Raises Diverged, torch.OutOfMemoryError, OSError (a full disk), and what the data set's loading raises.
    """
    spec = read_spec(run_dir)
    device = prepare(device_name)
    precision = pick_precision(spec, device)
    data = load_resident(datasets, spec, device)
    constants = channel_constants(data.record, device)
    plan = make_plan(spec, len(data.train_rows), extended_epochs(run_dir))
    model = fresh_model(spec, data, device)
    optimizer = build_optimizer(spec.optimizer, model, device)
    window = torch.zeros(2, dtype=torch.float64, device=device)  # sums of loss and of right answers
    progress = Progress()
    loaded, faults = checkpoint.load_last_good(run_dir)
    if loaded is not None:
        progress = restore(loaded, model, optimizer, window)
    elif (run_dir / "initial.safetensors").exists():
        start_from_weights(run_dir, model)
    events.emit(
        "start",
        attempt=attempt,
        from_step=progress.step,
        total_steps=plan.total_steps,
        steps_per_epoch=plan.steps_per_epoch,
        epochs=plan.epochs,
        batch_size=plan.batch_size,
        val_count=len(data.val_rows),
        device=device_name,
        precision=str(precision).removeprefix("torch."),
        parameters=count_parameters(model),
        torch=torch.__version__,
    )
    for fault in faults:
        events.emit("log", line=fault)
    events.emit(
        "log",
        line=f"attempt {attempt} on {device_name} in {str(precision).removeprefix('torch.')}: "
        f"{'from the start' if loaded is None else f'goes on after step {progress.step:,}'}, "
        f"{len(data.train_rows):,} images to train on, {len(data.val_rows):,} held out, {plan.total_steps:,} steps",
    )

    interval = log_interval(spec, plan)
    evaluation_interval = max(1, plan.total_steps // ONE_BATCH_EVALUATIONS) if spec.overfit_one_batch else 1
    draws_epoch, draws = -1, None
    saved_at = logged_at = time.monotonic()
    logged_step = progress.step
    training = False
    events.emit("phase", phase="first step")
    while progress.step < plan.total_steps:
        if should_stop():
            save(run_dir, events, progress, model, optimizer, window, plan.epoch_of(progress.step), best=False)
            return Outcome("interrupted", progress.step, summary_of(progress))

        epoch, position = divmod(progress.step, plan.steps_per_epoch)
        if spec.overfit_one_batch:
            epoch = 0
        if epoch != draws_epoch or draws is None:
            draws_epoch, draws = (
                epoch,
                draw_epoch(spec.augment, len(data.train_rows), spec.seed, epoch, device),
            )
        images, labels = take_batch(data, draws, 0 if spec.overfit_one_batch else position, plan.batch_size)
        rate = learning_rate(spec, plan, progress.step)
        set_rate(optimizer, rate)

        model.train()
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            logits = model(normalise(images, *constants))
            loss = batch_loss(spec, logits, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        with torch.no_grad():
            window[0] += loss
            window[1] += (logits.argmax(1) == labels).sum() / len(labels)
        progress.step += 1
        progress.window_steps += 1

        if is_logged(progress.step, interval) or progress.step == plan.total_steps:
            mean_loss, mean_acc = (window / progress.window_steps).tolist()  # the only wait for the device in a step
            now = time.monotonic()
            speed = (progress.step - logged_step) * plan.batch_size / max(1e-9, now - logged_at)
            events.metrics(
                progress.step,
                {"train/loss": mean_loss, "train/acc": mean_acc, "lr": rate, "throughput": speed},
            )
            if not training:
                training = True
                events.emit("phase", phase="training")
            window.zero_()
            progress.window_steps = 0
            logged_at, logged_step = now, progress.step
            if not math.isfinite(mean_loss):
                raise Diverged(progress.step)

        if plan.ends_epoch(progress.step) and (
            progress.step % evaluation_interval == 0 or progress.step == plan.total_steps
        ):
            improved = validate(spec, model, data, constants, precision, progress, events, plan.epoch_of(progress.step))
            stale = time.monotonic() - saved_at > 60 * spec.checkpoint_minutes
            if improved or stale or progress.step == plan.total_steps:
                save(
                    run_dir,
                    events,
                    progress,
                    model,
                    optimizer,
                    window,
                    plan.epoch_of(progress.step),
                    best=improved,
                )
                saved_at = time.monotonic()
            logged_at, logged_step = time.monotonic(), progress.step  # evaluation is no training time
        elif time.monotonic() - saved_at > 60 * spec.checkpoint_minutes:
            save(run_dir, events, progress, model, optimizer, window, plan.epoch_of(progress.step), best=False)
            saved_at = time.monotonic()

    events.emit("phase", phase="testing")
    if should_stop():
        return Outcome("interrupted", progress.step, summary_of(progress))
    summary = summary_of(progress) | test(run_dir, spec, model, data, constants, precision, device)
    events.metrics(progress.step, {name: value for name, value in summary.items() if "test/" in name})
    events.emit("log", line=f"tested: acc {summary['test/acc']:.4f}, loss {summary['test/loss']:.4f}")
    return Outcome("finished", progress.step, summary)


def fresh_model(spec: TrainSpec, data: ResidentData, device: torch.device) -> nn.Module:
    torch.manual_seed(spec.seed)
    model = build_model(spec.model, data.num_classes, data.record.size)
    model.to(device)
    return model.to(memory_format=torch.channels_last)


def start_from_weights(run_dir: Path, model: nn.Module) -> None:
    """A branch begins with the weights of its parent's checkpoint, which were copied beside its spec."""
    tensors = safetensors.torch.load_file(run_dir / "initial.safetensors")
    model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})


def restore(loaded: checkpoint.Loaded, model: nn.Module, optimizer: torch.optim.Optimizer, window: Tensor) -> Progress:
    model.load_state_dict(loaded.part("model"))
    restore_state(optimizer, loaded.part("optim"))
    window.copy_(loaded.tensors["window"])
    torch.set_rng_state(loaded.tensors["rng.cpu"])
    if "rng.cuda" in loaded.tensors:
        torch.cuda.set_rng_state(loaded.tensors["rng.cuda"])
    return Progress(**loaded.state)


def take_batch(data: ResidentData, draws: EpochDraws, position: int, batch_size: int) -> tuple[Tensor, Tensor]:
    """Images uint8 B×H×W×3, augmented, and labels (B,), of the batch at `position` in the epoch."""
    chosen = draws.order[position * batch_size : (position + 1) * batch_size]
    rows = data.train_rows[chosen]
    images = gather(
        data.train.images,
        rows,
        None if draws.flip is None else draws.flip[chosen],
        None if draws.shift is None else draws.shift[chosen],
    )
    return images, data.train.labels[rows]


def validate(
    spec: TrainSpec,
    model: nn.Module,
    data: ResidentData,
    constants: tuple[Tensor, Tensor],
    precision: torch.dtype,
    progress: Progress,
    events: EventWriter,
    epoch: int,
) -> bool:
    """Log an epoch's validation and say whether it is the best so far; ties go to the earliest, NaN never wins."""
    values: dict[str, float] = {}
    if len(data.val_rows):
        result = evaluate(spec, model, data, data.train, data.val_rows, constants, precision)
        values |= {f"val/{name}": value for name, value in result.items()}
    if needs_clean(spec):
        result = evaluate(spec, model, data, data.train, clean_rows(data), constants, precision)
        values |= {f"train_clean/{name}": result[name] for name in ("loss", "acc")}
    events.metrics(progress.step, values)
    events.emit("epoch", step=progress.step, epoch=epoch)
    shown = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
    events.emit("log", line=f"epoch {epoch}, step {progress.step:,}: {shown or 'done'}")
    progress.validation = {name: value for name, value in values.items() if math.isfinite(value)}
    if not len(data.val_rows):
        progress.best_step = progress.step
        return True
    if math.isfinite(values["val/loss"]) and values["val/acc"] > progress.best_acc:
        progress.best_acc, progress.best_step = values["val/acc"], progress.step
        return True
    return False


def save(
    run_dir: Path,
    events: EventWriter,
    progress: Progress,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    window: Tensor,
    epoch: int,
    *,
    best: bool,
) -> None:
    """Save everything that decides the next step, tell of it, and take superseded checkpoints away."""
    known = checkpoint.last_checkpoint(run_dir)
    if known is not None and known.step == progress.step:
        return
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"optim.{name}": value for name, value in state_tensors(optimizer).items()}
    tensors |= {"window": window, "rng.cpu": torch.get_rng_state()}
    if window.device.type == "cuda":
        tensors["rng.cuda"] = torch.cuda.get_rng_state(window.device)
    events.sync()  # the checkpoint vouches for every event before it
    info = checkpoint.save(
        run_dir,
        tensors,
        dict(vars(progress)),
        step=progress.step,
        epoch=epoch,
        metrics=progress.validation,
        best=best,
    )
    events.emit("checkpoint", **info.model_dump())
    events.emit("log", line=f"saved step {info.step:,}{', the best so far' if best else ''}")
    if old := checkpoint.superseded(run_dir):
        events.emit("pruned", steps=old)
        checkpoint.remove(run_dir, old)


def test(
    run_dir: Path,
    spec: TrainSpec,
    model: nn.Module,
    data: ResidentData,
    constants: tuple[Tensor, Tensor],
    precision: torch.dtype,
    device: torch.device,
) -> dict[str, float]:
    """The one look at the test split: the selected weights, the last ones, and the loss of the untrained network."""
    last = evaluate(spec, model, data, data.test, None, constants, precision)
    chosen = last
    info, newest = checkpoint.best_checkpoint(run_dir), checkpoint.last_checkpoint(run_dir)
    if info is not None and newest is not None and info.step != newest.step:
        model.load_state_dict(checkpoint.load(run_dir, info).part("model"))
        chosen = evaluate(spec, model, data, data.test, None, constants, precision)
    initial = evaluate(spec, fresh_model(spec, data, device), data, data.test, None, constants, precision)
    summary = {f"test/{name}": value for name, value in chosen.items()}
    summary |= {f"last/test/{name}": value for name, value in last.items()}
    return summary | {"init/test_loss": initial["loss"]}


def summary_of(progress: Progress) -> dict[str, float]:
    best = {"best/val_acc": progress.best_acc, "best/step": progress.best_step} if progress.best_acc >= 0 else {}
    return {**progress.validation, **best}
