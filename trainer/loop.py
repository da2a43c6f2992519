"""The training loop, to be read from top to bottom: load, restore, decide, step, log, evaluate, save, test."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from trainer.data.pixels import pixels_of
from trainer.diagnosis.checks import check
from trainer.diagnosis.watch import Watch
from trainer.engine.combining import share_all
from trainer.engine.compiling import CompiledPassFailed, StoppedWhileCompiling, give_up_compiling
from trainer.engine.context import Context
from trainer.engine.environment import record_environment
from trainer.engine.evaluate import evaluations_of_epoch, test, tested_images, validate
from trainer.engine.features import with_cached_features
from trainer.engine.instructions import Begin, Execute, Step, as_message
from trainer.engine.neighbors import neighbor_accuracies
from trainer.engine.optim import UpdateRatio
from trainer.engine.portions import Portions
from trainer.engine.range_test import suggest
from trainer.engine.ranks import ALONE, Ranks
from trainer.engine.resident import load_resident
from trainer.engine.runtime import Runtime, precision_name
from trainer.engine.saving import Saver
from trainer.engine.stepping import Stepper
from trainer.engine.trainee import Progress, Trainee, make_trainee, start_from_weights
from trainer.engine.tuning import Tuning
from trainer.models import checkpoint
from trainer.models.build import count_parameters
from trainer.models.device import free_memory, precision_of, prepare, search_kernels
from trainer.models.inputs import constants_of
from trainer.plan.decisions import Decisions
from trainer.plan.execution import Execution
from trainer.plan.pace import Pace
from trainer.plan.schedule import (
    gradient_interval,
    is_logged,
    learning_rate,
    log_interval,
    make_plan,
    resolution,
    steps_of_size,
)
from trainer.plan.steering import Course, extensions_asked_for, finish_early, finish_early_requested, replay
from trainer.points import Points, TrainingDiverged
from trainer.rundir.checkpoints import last_checkpoint
from trainer.rundir.events import EventWriter
from trainer.rundir.folder import RunDir
from trainer.rundir.hold import held_at
from trainer.rundir.spec import read_spec, with_sent_weights

ONE_BATCH_EVALUATIONS = 20

log = logging.getLogger(__name__)


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
    cache: Path | None = None,
    ranks: Ranks = ALONE,
) -> Outcome:
    """Train the run in `run_dir` from its last good checkpoint, or from the start, until it ends or `should_stop()`.

    `cache` is the folder in which it is remembered how networks are executed fastest on this processor. `ranks` are
    the processes that train the run together, of which this is the first; the others follow it: trainer/follower.py.
    Where torch.compile does not work, the run goes back to its last checkpoint and goes on in eager mode; one on
    several devices raises CompiledPassFailed, and does so in its next attempt. Raises TrainingDiverged, CheckFailed,
    torch.OutOfMemoryError, OSError (a full disk), and what loading the dataset raises.
    """
    with Saver(run_dir, events) as saver:
        while True:
            try:
                return train_on(run_dir, datasets, device_name, attempt, events, should_stop, cache, saver, ranks)
            except StoppedWhileCompiling:
                saved = last_checkpoint(run_dir)  # the run was saved before it was compiled
                return Outcome("interrupted", 0 if saved is None else saved.step, {})
            except CompiledPassFailed as failure:
                if ranks.are_several:
                    raise
                log.warning("the compiled pass is given up", exc_info=failure)
                reason = str(failure)
            saver.finish()
            give_up_compiling(run_dir)
            torch._dynamo.reset()
            free_memory()
            events.emit("log", line=f"{reason}; the run goes back to its last checkpoint and is not compiled")


def train_on(
    run_dir: Path,
    datasets: Path,
    device_name: str,
    attempt: int,
    events: EventWriter,
    should_stop: Callable[[], bool],
    cache: Path | None,
    saver: Saver,
    ranks: Ranks = ALONE,
) -> Outcome:
    """Train from the last good checkpoint. Raises CompiledPassFailed and StoppedWhileCompiling as well."""
    began = time.monotonic()
    spec = with_sent_weights(run_dir, read_spec(run_dir))
    device = prepare(device_name, spec.threads, ranks.sharing)
    decisions = Decisions(run_dir)
    precision = precision_of(spec, device, decisions, began=last_checkpoint(run_dir) is not None)
    runtime = Runtime(device, Execution(precision_name(precision), True, torch.get_num_threads()))
    data = load_resident(datasets, spec, device)
    portions = Portions.of(device, spec.model.input_size or data.record.size)
    constants = constants_of(pixels_of(spec, data.record), device)
    context = Context(run_dir, events, spec, device, data, constants, runtime, portions, ranks)

    loaded, faults = checkpoint.load_last_good(run_dir)
    branched = RunDir(run_dir).initial_weights.exists()
    trainee = make_trainee(spec, data, device, precision, fresh=loaded is None and not branched)
    progress = Progress()
    if loaded is not None:
        progress = trainee.restore(loaded)
    elif branched:
        start_from_weights(run_dir, trainee.model)
    earlier = progress.elapsed

    course = replay(Course(make_plan(spec, len(data.train_rows))), decisions.due(progress.step))
    course = replay(course, extensions_asked_for(run_dir, decisions, progress.step))
    plan = course.plan
    if ranks.are_several:
        scaler = {} if trainee.scaler is None else trainee.scaler.state_dict()
        ranks.tell(as_message(Begin(progress.step, plan.batch_size, precision_name(precision), scaler)))
        share_all(ranks, trainee, loaded)
    if course.execution is not None:
        execute(context, trainee, course.execution)
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
        parameters=count_parameters(trainee.model),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        others=ranks.others,
    )
    record_environment(run_dir, attempt, device)
    for fault in faults:
        events.emit("log", line=fault)
    events.emit(
        "log",
        line=f"attempt {attempt} on {' + '.join((device_name, *ranks.others))} "
        f"in {str(precision).removeprefix('torch.')}: "
        f"{'from the start' if loaded is None else f'resuming from step {progress.step:,}'}, "
        f"{len(data.train_rows):,} images to train on, {len(data.val_rows):,} to validate on, "
        f"{plan.total_steps:,} steps",
    )
    if spec.caches_features:
        events.emit("phase", phase="data")
        context = with_cached_features(context, trainee.model)

    stepper = Stepper(context, trainee, plan.batch_size)
    batches, passes = stepper.whole_batches, stepper.passes
    pace = Pace(spec, context.full_size, plan.batch_size, tested_images(context), evaluations_of_epoch(context))
    pace.follow(decisions.taken)
    interval = log_interval(spec, plan)
    gradients_interval = gradient_interval(interval)
    evaluation_interval = max(1, plan.total_steps // ONE_BATCH_EVALUATIONS) if spec.overfit_one_batch else 1
    size = resolution(spec, plan.share(progress.step), context.full_size)
    tuning = Tuning(context, trainee, batches, stepper.balance, decisions, plan.batch_size, size, cache)
    if spec.checks != "off" and not progress.step and not spec.caches_features:
        events.emit("phase", phase="checks")
        check(context, trainee.model, batches, size, plan, fresh=not branched)
    search_kernels(steps_of_size(spec, plan, progress.step, context.full_size))
    update_ratio = UpdateRatio(trainee.optimizers)
    watch = Watch(context, progress.step)
    points = Points(context, plan.batch_size, pace, passes, watch, progress.step)
    saved_at = time.monotonic()

    def save(*, best: bool) -> None:
        points.write(everything=True)
        progress.elapsed = earlier + time.monotonic() - began
        saver.save(context, trainee, progress, plan.epoch_of(progress.step), best=best)

    events.emit("phase", phase="first step")
    held = held_at(run_dir)
    while progress.step < plan.total_steps and not progress.stagnates(spec.early_stopping, plan.steps_per_epoch):
        step = progress.step
        if should_stop():
            save(best=False)
            return Outcome("interrupted", step, progress.summary)
        if isinstance(held, int) and step >= held:
            break

        epoch, position = (0, 0) if spec.overfit_one_batch else divmod(step, plan.steps_per_epoch)
        # Decisions that apply from this step on are recorded, so that a resumed run takes the same ones.
        taken = decisions.due(step)
        if not taken and not decisions.replaying:
            elapsed = earlier + time.monotonic() - began
            taken = tuning.decide(course, pace, step, elapsed, (epoch, position), size)
        if finish_early_requested(run_dir):
            taken = [*taken, finish_early(run_dir, decisions, step)]
        if taken:
            points.write(everything=True)
            course = replay(course, taken)
            plan = course.plan
            if any(decision.kind == "wind-down" for decision in taken):
                line = f"finishing early: the learning rate falls to 0 until step {plan.total_steps:,}, then the test"
                events.emit("log", line=line)
            pace.follow(taken)
            if course.execution is not None and course.execution != runtime.execution:
                execute(context, trainee, course.execution)
                pace.forget()
                events.emit(
                    "log", line=f"from step {step:,} executed in {course.execution}: see Setup for what was tried"
                )
            events.emit("plan", step=step, total_steps=plan.total_steps, epochs=plan.epochs)
            points.restart(step)  # what a decision took does not count as training time

        rate = learning_rate(plan, step)
        trainee.optimizers.set_rate(rate)
        trainee.unfreeze_from(spec.model.unfreeze_epoch, epoch)
        if (next_size := resolution(spec, plan.share(step), context.full_size)) != size:
            size = next_size
            search_kernels(steps_of_size(spec, plan, step, context.full_size))
            points.restart(step)
        if course.compiles(step) != passes.are_compiled:
            passes.switch(compiled=course.compiles(step))
            points.restart(step)  # each point is of steps of one kind
        built: AbstractContextManager[None] = nullcontext()
        if passes.builds(size, frozen=trainee.frozen is not None):
            save(best=False)  # a compiler may fail, or take minutes
            saver.finish()
            events.emit("phase", phase="compile")
            built, points.opens_phase = passes.building(step, size, frozen=trainee.frozen is not None), True
        logs = is_logged(step + 1, interval) or step + 1 == plan.total_steps

        if ranks.are_several:
            searches = torch.backends.cudnn.benchmark
            ranks.tell(as_message(Step(step, epoch, position, size, rate, searches, passes.are_compiled)))
        loss, correct = stepper.gradients(epoch, position, size, built)
        measures = spec.track_gradients and logs and is_logged(step + 1, gradients_interval)
        if measures:
            update_ratio.before(trainee.scaler)
        stepper.update(step)
        with torch.no_grad():
            trainee.window += torch.stack([loss, correct])
        progress.step = step = step + 1
        progress.window_steps += 1

        if logs:
            means = trainee.window / progress.window_steps
            points.take(plan, step, rate, size, torch.cat([means, update_ratio.after()]) if measures else means)
            trainee.window.zero_()
            progress.window_steps = 0
        points.write()  # those that the device has computed by now: no step waits for it
        saver.poll()
        if points.end_range_test:
            break

        if plan.ends_epoch(step) and (step % evaluation_interval == 0 or step == plan.total_steps):
            points.write(everything=True)
            evaluating = time.monotonic()
            found = validate(context, trainee, progress, plan.epoch_of(step))
            watch.evaluated(plan, step, found, trainee.evaluated)
            pace.evaluated(pace.epoch_images, time.monotonic() - evaluating)
            stale = time.monotonic() - saved_at > 60 * spec.checkpoint_minutes
            if found.improved or stale or step == plan.total_steps:
                save(best=found.improved)
                saved_at = time.monotonic()
            points.restart(step)  # evaluation does not count as training time
        elif time.monotonic() - saved_at > 60 * spec.checkpoint_minutes:
            save(best=False)
            saved_at = time.monotonic()
            points.restart(step)

    if spec.schedule.name != "range_test":  # a range test ends when the loss is no longer finite
        if not trainee.is_finite():
            watch.diverged(progress.step)
            raise TrainingDiverged(progress.step)
        save(best=False)  # does nothing if this step is saved already
    saver.finish()
    if held is not None:
        return Outcome("held", progress.step, progress.summary | {"elapsed_seconds": round(progress.elapsed, 3)})
    events.emit("phase", phase="testing")
    if should_stop():
        return Outcome("interrupted", progress.step, progress.summary)
    summary = progress.summary | test(context, trainee, progress.step)
    if spec.caches_features:
        summary |= neighbor_accuracies(context)
    if spec.schedule.name == "range_test":
        suggest(events, progress.step, points.range_test)
        summary["suggested_lr"] = points.range_test.suggestion
    events.metrics(progress.step, {name: value for name, value in summary.items() if "test/" in name})
    watch.tested(plan, progress.step, summary, progress.best_step)
    events.emit("log", line=f"tested: acc {summary['test/acc']:.4f}, loss {summary['test/loss']:.4f}")
    return Outcome("finished", progress.step, summary)


def execute(context: Context, trainee: Trainee, execution: Execution) -> None:
    """Execute the network in another way from now on, on all ranks."""
    if context.ranks.are_several:
        told = Execute(execution.precision, execution.channels_last, execution.threads)
        context.ranks.tell(as_message(told))
    context.runtime.change(execution, trainee)
