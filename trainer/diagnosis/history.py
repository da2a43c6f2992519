"""The metrics and findings of a run so far, as input of the rules. Does not import torch.

A resumed run rebuilds them from its own event files.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trainer.rundir.events import NONFINITE, walk

KEPT = (
    "train/loss", "train/acc", "train_clean/loss", "train_clean/acc", "val/loss", "val/acc", "val/balanced_acc",
    "val/flips", "grad/norm", "update/ratio",
)  # fmt: skip
PROBLEMS = ("fail", "warn")  # "warn" in older runs
MOST_REPEATS = 2  # times that a kind of finding is told; one that ended twice is not told again


class Curve:
    """A time series: steps in ascending order, and the value at each."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.values: list[float] = []

    def __len__(self) -> int:
        return len(self.values)

    def add(self, step: int, value: float) -> None:
        self.steps.append(step)
        self.values.append(value)

    def trim(self, step: int) -> None:
        """Remove the values after `step`."""
        kept = bisect_right(self.steps, step)
        del self.steps[kept:], self.values[kept:]

    def until(self, step: int) -> Curve:
        """Return a copy without the values after `step`."""
        return self.between(-1, step)

    def between(self, after: int, until: int) -> Curve:
        """Return a copy of the values at `after` < step ≤ `until`."""
        first, last = bisect_right(self.steps, after), bisect_right(self.steps, until)
        part = Curve()
        part.steps, part.values = self.steps[first:last], self.values[first:last]
        return part

    def at(self, step: int) -> float | None:
        """Return the last value at or before `step`; None if there is none."""
        index = bisect_right(self.steps, step)
        return self.values[index - 1] if index else None

    def drawn(self, points: int = 120) -> list[list[float]]:
        """Return [[steps], [values]] for a small plot, thinned to fewer than 2 * `points` values; keeps the last."""
        every = max(1, len(self) // points)
        return [[float(step) for step in self.steps[::-every][::-1]], self.values[::-every][::-1]]


@dataclass(frozen=True)
class Told:
    """A finding of `kind` was told at `step`, or ended there."""

    step: int
    kind: str
    problem: bool = False
    ended: bool = False


class History:
    """The metrics that the rules read, as curves, and the findings told and ended so far, without those passed."""

    def __init__(self) -> None:
        self.curves: dict[str, Curve] = defaultdict(Curve)
        self.record: list[Told] = []

    @classmethod
    def of_run(cls, run_dir: Path, step: int) -> History:
        """Read the metrics and findings of earlier attempts up to `step`, the checkpoint that the run resumes from."""
        history = cls()
        for _, event in walk(run_dir):
            match event["e"]:
                case "start":
                    history.trim(event["from_step"])
                    if event["from_step"] == 0:
                        history.record.clear()  # this attempt starts from scratch and repeats the checks
                case "metrics":
                    values = {k: NONFINITE[v] if isinstance(v, str) else v for k, v in event["v"].items()}
                    history.add(event["step"], values)
                case "finding" if event["level"] != "pass":
                    history.record.append(Told(event["step"], event["kind"], event["level"] in PROBLEMS))
                case "finding_ended":
                    history.record.append(Told(event["step"], event["kind"], ended=True))
        history.trim(step)
        return history

    def add(self, step: int, values: Mapping[str, float]) -> None:
        for name in KEPT:
            if name in values:
                self.curves[name].add(step, values[name])

    def trim(self, step: int) -> None:
        """Remove the metrics and findings after `step`."""
        for curve in self.curves.values():
            curve.trim(step)
        self.record = [item for item in self.record if item.step <= step]

    def __getitem__(self, name: str) -> Curve:
        return self.curves[name]

    @property
    def active(self) -> dict[str, int]:
        """The findings that hold now: kind -> the step at which they were told."""
        holding: dict[str, int] = {}
        for item in self.record:
            if item.ended:
                holding.pop(item.kind, None)
            else:
                holding.setdefault(item.kind, item.step)
        return holding

    @property
    def problems(self) -> list[str]:
        """The kinds of the problems that hold now, in the order in which they were told."""
        latest = {item.kind: item for item in self.record}
        return [kind for kind in self.active if latest[kind].problem]

    def may_tell(self, kind: str) -> bool:
        """Whether a finding of `kind` would be a new one."""
        told = Counter(item.kind for item in self.record if not item.ended)
        return kind not in self.active and told[kind] < MOST_REPEATS

    @property
    def training(self) -> Curve:
        """The training loss to compare with the validation loss: the one on clean images if it is measured."""
        clean = self.curves["train_clean/loss"]
        return clean if len(clean) else self.curves["train/loss"]

    @property
    def training_accuracy(self) -> Curve:
        clean = self.curves["train_clean/acc"]
        return clean if len(clean) else self.curves["train/acc"]
