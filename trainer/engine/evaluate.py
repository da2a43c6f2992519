"""Loss and accuracy of a model on a split, in evaluation mode: validation after each epoch, and the test at the end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.engine.calibration import fit_temperature, reliability, tempered
from trainer.engine.context import Context
from trainer.engine.instructions import Evaluation, Images, Weights, as_message
from trainer.engine.loss import batch_loss
from trainer.engine.resident import ResidentData, Split
from trainer.engine.scores import LARGEST_TABLE, class_scores, roc_auc
from trainer.engine.trainee import Progress, Trainee, fresh_model
from trainer.models import checkpoint
from trainer.models.device import accumulator
from trainer.models.inputs import network_input
from trainer.models.pretrained import split_head
from trainer.rundir.answers import Answers, Table, answered_steps, read_answers, write_answers, write_table
from trainer.rundir.calibration import Calibration, write_calibration
from trainer.rundir.checkpoints import best_checkpoint
from trainer.spec.train_spec import TrainSpec

CLEAN_IMAGES = 2000


@dataclass
class Predictions:
    """A model's predictions for n images: `guess` int64 (n,), the predicted classes; `own` and `top` float32 (n,), the
    probabilities of the labels and of the predicted classes; `table` float32 (n, C), the logarithms of all
    probabilities, None where they are too many to be kept."""

    guess: Tensor
    own: Tensor
    top: Tensor
    table: Tensor | None


@dataclass(frozen=True)
class Validation:
    """The values of one validation; `guesses` int64 (n,) are the predicted classes, None without a validation split;
    `improved` is true if the accuracy is the best so far."""

    values: dict[str, float]
    guesses: Tensor | None
    improved: bool


@torch.inference_mode()
def evaluate(
    context: Context, model: nn.Module, split: Split, rows: Tensor | None, *, flip: bool = False, scored: bool = True
) -> tuple[dict[str, float], Predictions]:
    """Evaluate `model` on `rows` of `split`, on all if None.

    Returns the mean loss and acc, acc5 with more than ten classes, coarse_acc with superclasses, and if `scored` the
    figures of trainer/engine/scores.py and log_loss; and the predictions. `flip` averages each image's logits with
    those of its mirror image. Several ranks, which all call this, each evaluate a part: rank 0's results are of all.
    """
    model.eval()
    data, device = context.data, context.device
    count = len(split) if rows is None else len(rows)
    sums = torch.zeros(4, dtype=accumulator(device), device=device)
    is_kept = scored and count * data.num_classes <= LARGEST_TABLE
    table = torch.zeros(count, data.num_classes, device=device) if is_kept else None
    guesses = torch.zeros(count, dtype=torch.int64, device=device)
    own, top = torch.zeros(2, count, device=device)
    predictions = Predictions(guesses, own, top, table)
    targets = split.labels if rows is None else split.labels[rows]

    def evaluate_part(part: slice) -> None:
        raw = split.images[part] if rows is None else split.images[rows[part].to(split.images.device)]
        images = network_input(raw.to(device), context.constants, context.full_size)
        labels = targets[part]
        with context.autocast:
            logits = model(images)
            if flip:
                logits = (logits + model(images.flip(-1))) / 2
        logits = logits.float()
        probabilities = logits.softmax(1)
        predictions.top[part], predictions.guess[part] = probabilities.max(1)
        predictions.own[part] = probabilities.gather(1, labels[:, None]).squeeze(1)
        if table is not None:
            table[part] = logits.log_softmax(1)
        five = (logits.topk(5).indices == labels[:, None]).sum() if data.num_classes > 10 else 0
        # The sums last: a part that fails for lack of memory is evaluated again in smaller ones.
        sums[0] += batch_loss(context.spec, logits, labels, plain=True) * len(labels)
        sums[1] += five
        sums[3] += F.cross_entropy(logits, labels, reduction="sum")

    share = context.ranks.share_of(count)
    context.portions.each(share.stop, evaluate_part, start=share.start)
    # Each rank's part of a tensor is 0 in the others.
    context.ranks.sum([sums, guesses, own, top, *([] if table is None else [table])])
    right = predictions.guess == targets
    if data.coarse_of is not None:
        sums[2] = (data.coarse_of[predictions.guess] == data.coarse_of[targets]).sum()
    loss, acc5, coarse, log_loss = (sums / max(1, count)).tolist()  # waits for the device
    result = {"loss": loss, "acc": share_of(right)}
    if data.num_classes > 10:
        result["acc5"] = acc5
    if data.coarse_of is not None:
        result["coarse_acc"] = coarse
    if scored and count:
        result |= {"log_loss": log_loss, **class_scores(targets, predictions.guess, data.num_classes)}
        if table is not None:
            result["auc"] = roc_auc(targets, table)
    return result, predictions


def evaluate_images(context: Context, model: nn.Module, asked: Evaluation) -> tuple[dict[str, float], Predictions]:
    """Evaluate `model` on what is asked for. Rank 0 tells the others, who have the same weights by now."""
    data = context.data
    if context.ranks.rank == 0:
        context.ranks.tell(as_message(asked))
    splits: dict[Images, tuple[Split, Tensor | None]] = {
        "val": (data.val, data.val_rows),
        "clean": (data.train, clean_rows(data)),
        "test": (data.test, None),
    }
    return evaluate(context, model, *splits[asked.images], flip=asked.flip, scored=asked.scored)


def share_weights(context: Context, model: nn.Module) -> None:
    """Give the weights of `model` to the networks that the other ranks evaluate."""
    if context.ranks.are_several:
        context.ranks.tell(as_message(Weights()))
        context.ranks.share(model.state_dict(), context.device)


def share_of(true: Tensor) -> float:
    """Return the share of true values; NaN if there are none. Waits for the device."""
    return true.sum().item() / len(true) if len(true) else math.nan


def validate(context: Context, trainee: Trainee, progress: Progress, epoch: int) -> Validation:
    """Validate after an epoch and emit the results. A tie with an earlier epoch, or NaN, is not an improvement."""
    run_dir, data, events = context.run_dir, context.data, context.events
    values: dict[str, float] = {}
    guesses = None
    if len(data.val_rows):
        result, predictions = evaluate_images(context, trainee.evaluated, Evaluation("val"))
        values |= {f"val/{name}": value for name, value in result.items()}
        guesses = predictions.guess
        if (before := earlier_guesses(run_dir, progress.step)) is not None and len(before) == len(guesses):
            values["val/flips"] = share_of(before.to(guesses.device) != guesses)
        write_answers(context.run_dir, answers_of(progress.step, data.val_rows, predictions))
    if needs_clean(context.spec):
        result, _ = evaluate_images(context, trainee.evaluated, Evaluation("clean", scored=False))
        values |= {f"train_clean/{name}": result[name] for name in ("loss", "acc")}
    events.metrics(progress.step, values)
    events.emit("epoch", step=progress.step, epoch=epoch)
    shown = ", ".join(f"{name} {value:.4f}" for name, value in values.items() if name.endswith(("/loss", "/acc")))
    events.emit("log", line=f"epoch {epoch}, step {progress.step:,}: {shown or 'done'}")
    progress.validation = {name: value for name, value in values.items() if math.isfinite(value)}
    if not len(data.val_rows):
        progress.best_step = progress.step
        return Validation(values, guesses, improved=True)
    if math.isfinite(values["val/loss"]) and progress.improves(values, context.spec.select_by):
        progress.best_acc, progress.best_step = values["val/acc"], progress.step
        progress.best = progress.validation
        return Validation(values, guesses, improved=True)
    return Validation(values, guesses, improved=False)


def earlier_guesses(run_dir: Path, step: int) -> Tensor | None:
    """The predicted classes, int16 (n,), of the evaluation before `step`, read from its file, as a resumed run does.

    None if there is no such file or it is damaged: an even earlier evaluation would give another quantity.
    """
    earlier = [answered for answered in answered_steps(run_dir) if answered < step]
    answers = read_answers(run_dir, earlier[-1]) if earlier else None
    return None if answers is None else torch.tensor(answers.guess)


def answers_of(step: int, rows: Tensor, predictions: Predictions) -> Answers:
    """Convert the predictions for `rows`, int64 (n,), of the validation arrays to the format that is stored."""
    return Answers(
        step,
        row=rows.to(torch.int32).cpu().numpy(),
        guess=predictions.guess.to(torch.int16).cpu().numpy(),
        own=predictions.own.half().cpu().numpy(),
        top=predictions.top.half().cpu().numpy(),
    )


def test(context: Context, trainee: Trainee, step: int) -> dict[str, float]:
    """Evaluate on the test split, once per run: the selected weights, the last ones, and the untrained network's loss.

    `trainee` has the weights of `step`, which are the last ones.
    """
    run_dir, spec, data = context.run_dir, context.spec, context.data

    last, predictions = evaluate_images(context, trainee.evaluated, Evaluation("test"))
    chosen, chosen_step = last, step
    info = best_checkpoint(run_dir)
    if info is not None and info.step != step:
        trainee.load_evaluated(checkpoint.load(run_dir, info).part("model"))
        share_weights(context, trainee.evaluated)
        chosen, predictions = evaluate_images(context, trainee.evaluated, Evaluation("test"))
        chosen_step = info.step
    summary = {f"test/{name}": value for name, value in chosen.items()}
    summary |= calibrated(context, trainee.evaluated, predictions, chosen_step)
    if spec.test_flip and not spec.caches_features:
        flipped, _ = evaluate_images(context, trainee.evaluated, Evaluation("test", flip=True, scored=False))
        summary["test/acc_flip"] = flipped["acc"]
    summary |= {f"last/test/{name}": value for name, value in last.items()}
    initial = fresh_model(spec, data, context.device, initialized=not spec.caches_features)
    if spec.caches_features:
        initial = split_head(initial)[1]
    share_weights(context, initial)
    untrained, _ = evaluate_images(context, initial, Evaluation("test", scored=False))
    return summary | {"init/test_loss": untrained["loss"]}


def calibrated(context: Context, model: nn.Module, on_test: Predictions, step: int) -> dict[str, float]:
    """Fit the temperature of the selected model on the validation split, and measure it on the test split.

    Both are written to the run directory, and with them the probabilities for the validation split. Returns test/ece,
    test/ece_calibrated and temperature, as far as there are images for them.
    """
    data, labels = context.data, context.data.test.labels
    if on_test.table is None or not len(labels):
        return {}
    before = reliability(on_test.table, labels)
    _, on_validation = evaluate_images(context, model, Evaluation("val"))
    temperature = None
    if on_validation.table is not None:
        temperature = fit_temperature(on_validation.table, data.val.labels[data.val_rows])
        table = on_validation.table.exp().half().cpu().numpy()
        write_table(context.run_dir, Table(step, data.val_rows.to(torch.int32).cpu().numpy(), table))
    if temperature is None:
        return {"test/ece": before.ece}
    after = reliability(tempered(on_test.table, temperature), labels)
    write_calibration(
        context.run_dir,
        Calibration(step=step, temperature=temperature, images=len(data.val_rows), before=before, after=after),
    )
    return {"test/ece": before.ece, "test/ece_calibrated": after.ece, "temperature": temperature}


def clean_rows(data: ResidentData) -> Tensor:
    """Rows of a fixed subset of the training images, evaluated to detect overfitting."""
    return data.train_rows[:: max(1, len(data.train_rows) // CLEAN_IMAGES)][:CLEAN_IMAGES]


def needs_clean(spec: TrainSpec) -> bool:
    """Whether the training loss is not comparable with the validation loss."""
    return bool(
        spec.label_smoothing
        or spec.augment.changes_images
        or spec.model.dropout
        or spec.optimizer.ema
        or spec.focal_gamma
        or spec.balancing
    )


def evaluations_of_epoch(context: Context) -> int:
    """Number of images evaluated after an epoch."""
    clean = len(clean_rows(context.data)) if needs_clean(context.spec) else 0
    return len(context.data.val_rows) + clean


def tested_images(context: Context) -> int:
    """Number of images that `test` evaluates: with the last, untrained and perhaps the selected weights, flipped; and
    those of the validation split for the calibration."""
    data = context.data
    return len(data.test) * (2 + bool(len(data.val_rows)) + 2 * context.spec.test_flip) + len(data.val_rows)
