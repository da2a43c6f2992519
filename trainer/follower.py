"""A rank of a run other than the first: it loads the data, then does what rank 0 tells it, until that ends."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

from trainer.data.pixels import pixels_of
from trainer.engine.combining import random_state, take_over
from trainer.engine.context import Context
from trainer.engine.evaluate import evaluate_images
from trainer.engine.instructions import (
    Begin,
    Evaluation,
    Execute,
    Finish,
    Instruction,
    RandomStates,
    Step,
    Weights,
    of_message,
)
from trainer.engine.portions import Portions
from trainer.engine.ranks import Ranks
from trainer.engine.resident import load_resident
from trainer.engine.runtime import DTYPES, Runtime
from trainer.engine.stepping import Stepper
from trainer.engine.trainee import Trainee, make_trainee
from trainer.models.device import prepare
from trainer.models.inputs import constants_of
from trainer.plan.execution import Execution
from trainer.rundir.events import EventWriter
from trainer.rundir.spec import read_spec


def follow(run_dir: Path, datasets: Path, device_name: str, events: EventWriter, ranks: Ranks) -> None:
    """Take part in the run until rank 0 tells that it has ended. Raises RankLost, and what training raises."""
    spec = read_spec(run_dir)
    device = prepare(device_name, spec.threads, ranks.sharing)
    data = load_resident(datasets, spec, device)
    begin = of_message(ranks.hear())
    if isinstance(begin, Finish):
        return
    assert isinstance(begin, Begin)
    runtime = Runtime(device, Execution(begin.precision, True, torch.get_num_threads()))
    portions = Portions.of(device, spec.model.input_size or data.record.size)
    constants = constants_of(pixels_of(spec, data.record), device)
    context = Context(run_dir, events, spec, device, data, constants, runtime, portions, ranks)
    trainee = make_trainee(spec, data, device, DTYPES[begin.precision], fresh=False)
    take_over(ranks, trainee, spec.seed, begin.step)
    if trainee.scaler is not None and begin.scaler:
        trainee.scaler.load_state_dict(begin.scaler)
    stepper = Stepper(context, trainee, begin.batch_size)
    while not isinstance(told := of_message(ranks.hear()), Finish):
        obey(told, context, trainee, stepper)


def obey(told: Instruction, context: Context, trainee: Trainee, stepper: Stepper) -> None:
    ranks = context.ranks
    match told:
        case Step():
            trainee.optimizers.set_rate(told.rate)
            trainee.unfreeze_from(context.spec.model.unfreeze_epoch, told.epoch)
            torch.backends.cudnn.benchmark = told.searches
            stepper.gradients(told.epoch, told.position, told.size, built_by(told, trainee, stepper))
            stepper.update(told.step)
        case Execute():
            context.runtime.change(told.execution, trainee)
        case Evaluation():
            evaluate_images(context, trainee.evaluated, told)
        case Weights():
            trainee.evaluated.load_state_dict(ranks.share(None, context.device))
        case RandomStates():
            ranks.gather(random_state(context.device))


def built_by(step: Step, trainee: Trainee, stepper: Stepper) -> AbstractContextManager[None]:
    """The context of the step's passes, which are compiled in it if they have to be."""
    passes, frozen = stepper.passes, trainee.frozen is not None
    if step.compiled != passes.are_compiled:
        passes.switch(compiled=step.compiled)
    if not passes.builds(step.size, frozen=frozen):
        return nullcontext()
    return passes.building(step.step, step.size, frozen=frozen)
