"""Findings from the predictions for each validation image: overfitting, rare classes, classes that look the same.

Does not import torch: it reads the stored predictions (trainer/rundir/answers.py), as a resumed run does.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.diagnosis.findings import Finding, Remedy, value
from trainer.diagnosis.rules import Case, Z, finite
from trainer.diagnosis.trend import trend
from trainer.rundir.answers import Answers
from trainer.spec.train_spec import TrainSpec

SMALLEST = 1e-7  # probability: the stored ones are of half precision
LEAST_RISE = 0.05
FEWEST = 50  # validation images
FEWEST_PAIRED = 16  # for a paired comparison, with a stricter limit below FEWEST
Z_FEW = 4.5
PAIR = 15  # validation images of each of two classes that are compared
UNEVEN = 20.0  # times the smallest class
RARE = 5.0  # times fewer training images than the largest class
HARDLY = 0.4  # share of the other classes' accuracy
CONFUSED = 0.62  # share of right answers among two classes below which they count as the same
SPLITS_Z = 4.0
UNVALIDATED = 0.05  # share of the test images whose classes have no validation images
SPLITS_GAP = 0.05  # difference of the accuracies; the best epoch was chosen by the validation images
SEPARABLE = 0.7  # upper limit of that share's interval
OTHERS = 0.2  # by which the other classes have to be recognized better

Floats = npt.NDArray[np.float64]


@dataclass
class Losses:
    """The losses of the validation images, float64 (n,), after the present evaluation and after the best ones.

    The best evaluation is chosen on each half of the images and compared on the other: the least of many noisy means
    is too low for the images that it was chosen by.
    """

    steps: list[int]
    means: list[float]
    now: Floats | None
    best: list[tuple[float, int, Floats]]

    @classmethod
    def empty(cls) -> Losses:
        return cls([], [], None, [(math.inf, 0, np.zeros(0)), (math.inf, 0, np.zeros(0))])

    def add(self, answers: Answers) -> None:
        losses = -np.log(np.maximum(answers.own.astype(np.float64), SMALLEST))
        for half in (0, 1):
            mean = float(losses[half::2].mean()) if len(losses) > 1 else math.inf
            if mean < self.best[half][0]:
                self.best[half] = (mean, answers.step, losses)
        self.steps.append(answers.step)
        self.means.append(float(losses.mean()))
        self.now = losses

    @property
    def rise(self) -> Rise | None:
        """The rise since the best evaluation."""
        if self.now is None or len(self.now) < FEWEST_PAIRED:
            return None
        differences, bases = np.empty_like(self.now), np.empty_like(self.now)
        for half in (0, 1):
            _, _, losses = self.best[half]
            if len(losses) != len(self.now):
                return None
            other = slice(1 - half, None, 2)
            differences[other], bases[other] = self.now[other] - losses[other], losses[other]
        error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
        turned = min(step for _, step, _ in self.best)
        return Rise(
            float(differences.mean()), error, float(bases.mean()), turned, len(differences), self._is_sustained(turned)
        )

    def _is_sustained(self, turned: int) -> bool:
        """Whether the mean loss has risen ever since the best evaluation: from one to the next it fluctuates.

        Compares medians of three evaluations, and wants a trend whose interval excludes falling, without the best one.
        """
        place = self.steps.index(turned)
        around, last = self.means[max(0, place - 1) : place + 2], self.means[-3:]
        since = trend(self.steps[place + 1 :], self.means[place + 1 :])
        return since.low > 0 and statistics.median(last) > (1 + LEAST_RISE) * statistics.median(around)


@dataclass(frozen=True)
class Rise:
    """The mean paired difference of the losses to the best evaluation's, at step `turned`, and its standard error."""

    mean: float
    error: float
    base: float
    turned: int
    images: int
    sustained: bool

    @property
    def share(self) -> float:
        return self.mean / max(self.base, 1e-9)

    @property
    def is_certain(self) -> bool:
        errors = Z if self.images >= FEWEST else Z_FEW  # few images: their spread is known less well
        return self.sustained and self.share >= LEAST_RISE and self.mean > errors * max(self.error, 1e-12)


def overfitting(case: Case, rise: Rise) -> Finding | None:
    """The validation loss has risen since its best evaluation, by the same images, while the training loss fell."""
    train = case.history.training
    then, now = train.at(rise.turned), train.at(case.step)
    limit = max(LEAST_RISE, case.spec.thresholds.overfit_rise)
    if not rise.is_certain or rise.share < limit or then is None or now is None or now > then:
        return None
    message = (
        f"Overfitting since epoch {case.plan.epoch_of(rise.turned)}: the loss of the same {case.val_count:,} "
        f"validation images has risen by {100 * rise.share:.3g}% ({rise.mean / max(rise.error, 1e-12):.3g} standard "
        f"errors) while the training loss went from {then:.3g} to {now:.3g}. The checkpoint of the best epoch is kept."
    )
    lines = {"training loss": finite(train), "validation loss": finite(case.history["val/loss"])}
    evidence = value("rise of the validation loss", 100 * rise.share, 100 * limit, "%")
    evidence |= {"lines": lines, "turn": rise.turned}
    return Finding("overfitting", "fail", message, evidence, regularized(case.spec))


def regularized(spec: TrainSpec) -> Remedy | None:
    """Return the first regularization that the spec does not use yet; None if it uses all of them."""
    if not spec.augment.changes_images:
        return Remedy("random crop and flip", {"augment.flip": True, "augment.crop": 4})
    if not spec.optimizer.weight_decay:
        return Remedy("weight decay 5e-4", {"optimizer.weight_decay": 5e-4})
    if not spec.augment.cutout and not spec.augment.trivial and not spec.augment.randaugment:
        return Remedy("TrivialAugment", {"augment.trivial": True})
    if not spec.label_smoothing and spec.loss == "cross_entropy" and not spec.focal_gamma:
        return Remedy("label smoothing 0.1", {"label_smoothing": 0.1})
    return None


def rare_classes(
    spec: TrainSpec, right: npt.NDArray[np.bool_], labels: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]
) -> Finding | None:
    """The classes with few training images are recognized much less often than the others."""
    ratio = counts.max() / max(1, counts.min())
    if spec.balancing or ratio < UNEVEN:
        return None
    rare = counts < counts.max() / RARE
    few, many = right[rare[labels]], right[~rare[labels]]
    if min(len(few), len(many)) < 5:
        return None
    z = two_proportions(many.sum(), len(many), few.sum(), len(few))
    if few.mean() > HARDLY * many.mean() or z < Z:
        return None
    message = (
        f"Rare classes are hardly recognized: their validation accuracy is {100 * few.mean():.3g}%, that of the others "
        f"{100 * many.mean():.3g}% ({z:.3g} standard errors). The most frequent class has {ratio:.3g} "
        "times as many training images as the rarest."
    )
    remedy = Remedy("balanced class weights", {"class_weights": "balanced"}) if spec.loss == "cross_entropy" else None
    evidence = value("accuracy of rare / of other classes", few.mean() / many.mean(), HARDLY)
    return Finding("imbalance", "fail", message, evidence, remedy)


def confused_classes(
    guesses: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], names: Sequence[str]
) -> Finding | None:
    """Two classes whose images are distinguished no better than by guessing, while the others are recognized."""
    classes = len(names)
    if classes < 3:
        return None
    matrix = np.bincount(labels * classes + guesses, minlength=classes**2).reshape(classes, classes)
    sizes, right = matrix.sum(1), matrix.diagonal()
    mutual = matrix + matrix.T
    np.fill_diagonal(mutual, 0)
    first, second = divmod(int(mutual.argmax()), classes)
    correct, among = right[first] + right[second], right[first] + right[second] + mutual[first, second]
    rest = len(labels) - sizes[first] - sizes[second]
    if min(sizes[first], sizes[second]) < PAIR or not rest or among < 1.5 * PAIR:
        return None
    share, others = correct / among, (right.sum() - correct) / rest
    highest = share + 1.64 * math.sqrt(share * (1 - share) / among)
    if share > CONFUSED or highest > SEPARABLE or others < share + OTHERS:
        return None
    message = (
        f"{names[first]} and {names[second]} are confused: {100 * share:.3g}% of the predictions within the "
        f"pair are correct (threshold {100 * CONFUSED:g}%, guessing gives 50%); of the other classes "
        f"{100 * others:.3g}% are correct. Look at these two classes: they may show the same."
    )
    evidence = value("accuracy within the two classes", 100 * share, 100 * CONFUSED, "%")
    return Finding("confused_classes", "look", message, evidence)


def splits_disagree(
    test_acc: float,
    test_counts: npt.NDArray[np.int64],
    guesses: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
) -> Finding | None:
    """The test accuracy is not that of the validation images, by more than chance.

    The validation accuracy is that of each class, weighted by its share `test_counts` of the test images.
    """
    tests, sizes = int(test_counts.sum()), np.bincount(labels, minlength=len(test_counts))
    shares = test_counts / max(1, tests)
    if min(tests, len(labels)) < FEWEST or not math.isfinite(test_acc) or shares[sizes == 0].sum() > UNVALIDATED:
        return None
    right = np.bincount(labels[guesses == labels], minlength=len(test_counts))
    expected = float((shares * right / np.maximum(sizes, 1)).sum() / shares[sizes > 0].sum())
    smoothed = (right + 1) / (sizes + 2)  # a class of which all images are right has an error too
    variance = float((shares**2 * smoothed * (1 - smoothed) / np.maximum(sizes, 1)).sum())
    pooled = (test_acc * tests + 1) / (tests + 2)
    z = (test_acc - expected) / math.sqrt(variance + pooled * (1 - pooled) / tests)
    if abs(z) <= SPLITS_Z or abs(test_acc - expected) < SPLITS_GAP:
        return None
    reason = (
        "the test images may come from another source, or be prepared differently"
        if z < 0
        else "test images may also be training images, or the labels of the training split are less reliable"
    )
    message = (
        f"The test accuracy is {100 * test_acc:.3g}% ({tests:,} images), the validation accuracy {100 * expected:.3g}% "
        f"({len(labels):,} images), a difference of {abs(z):.3g} standard errors (threshold {SPLITS_Z:g}): {reason}."
    )
    return Finding("splits_disagree", "fail", message, value("difference, standard errors", abs(z), SPLITS_Z))


def two_proportions(first: float, of_first: int, second: float, of_second: int) -> float:
    """The z statistic of the difference of two proportions, positive if the first is greater."""
    pooled = (first + second) / (of_first + of_second)
    error = math.sqrt(max(pooled * (1 - pooled), 1e-12) * (1 / of_first + 1 / of_second))
    return (first / of_first - second / of_second) / error
