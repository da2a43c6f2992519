"""Which rules could look at a run, and why others could not."""

from __future__ import annotations

from trainer.diagnosis.dataset import is_compared
from trainer.diagnosis.findings import COVERAGE, Finding
from trainer.diagnosis.rules import ENOUGH, FIRST_LOOK, GUESSING_STEPS, Case, look_interval
from trainer.diagnosis.validation import FEWEST_PAIRED
from trainer.engine.context import Context


def coverage(context: Context, case: Case) -> Finding:
    """Return the record of the rules that looked. Its evidence: {"rules": [[what, reason or None], …]}."""
    spec = context.spec
    checked = None if spec.checks != "off" and not spec.caches_features else "no checks before the first step"
    alone = "one batch is trained" if spec.overfit_one_batch else None
    ranged = "a range test raises the rate until training breaks" if spec.schedule.name == "range_test" else None
    silent = alone or ranged
    looks = look_interval(case.plan)
    evaluations = len(case.history["val/acc"])
    few = f"{case.val_count} validation images, fewer than {ENOUGH}" if case.val_count < ENOUGH else None
    unpaired = few if case.val_count < FEWEST_PAIRED else None
    short = f"{case.step:,} steps, fewer than {FIRST_LOOK + looks}" if case.step < FIRST_LOOK + looks else None
    counted = f"{evaluations} evaluation{'s' * (evaluations != 1)}"
    once = f"{counted}, fewer than 2" if evaluations < 2 else None
    early = f"{case.step:,} steps, fewer than {GUESSING_STEPS}" if case.step < GUESSING_STEPS else None
    constant = None if spec.schedule.name == "constant" else "the schedule lowers the rate"
    gradients = None if spec.track_gradients else "gradients are not measured"
    compared = None if is_compared(context) else "the images are too many, or not resident"
    looked: list[tuple[str, str | None]] = [
        ("Images, labels and class frequencies", checked or alone),
        ("Duplicates across splits, conflicting labels", checked or alone or compared),
        ("Objective, regularization and learning rate before the first step", checked or silent),
        ("Training loss that does not fall, or rises", silent or short),
        ("Vanished gradients", silent or gradients or short),
        ("Labels that do not belong to their images", silent or few or once or early),
        ("Overfitting", silent or unpaired or (once and f"{counted}, fewer than 3")),
        ("Classes that are rare or confused", silent or few or once),
        ("Plateau", silent or constant or few or once),
        ("Test against validation", silent or few),
    ]
    could = sum(reason is None for _, reason in looked)
    message = f"{could} of {len(looked)} groups of rules could look at this run."
    return Finding(COVERAGE, "pass", message, {"rules": [list(item) for item in looked]})
