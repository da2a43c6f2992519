"""The Checks tab of a run: each pre-training check with its question, this run's result and a picture of it.

Source: A. Karpathy, "A Recipe for Training Neural Networks", 2019.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.datasets.datasets import Datasets
from app.diagnosis.findings import FindingPublic
from app.diagnosis.strip import PredictionStrip, prediction_strip
from app.display.small_plot import SmallPlot, small_plot
from app.runs.public import RunPublic
from app.runs.runs import Runs
from trainer.diagnosis.findings import COVERAGE

VERDICTS = {"pass": "passed", "look": "review", "info": "info", "warn": "review", "fail": "problem"}


@dataclass(frozen=True)
class FindingView:
    """A finding and its plot."""

    finding: FindingPublic
    plot: SmallPlot | None

    @property
    def level(self) -> str:
        return "symptom" if self.finding.cause and self.finding.level != "pass" else self.finding.level

    @property
    def verdict(self) -> str:
        return VERDICTS.get(self.level, self.level)

    @property
    def explained_by(self) -> str:
        """The name of the finding of which this is a symptom; "" if it is none."""
        cause = (self.finding.cause or "") if self.level == "symptom" else ""
        return STEPS[cause][0] if cause in STEPS else cause.replace("lr_", "learning_rate_").replace("_", " ")

    @property
    def threshold(self) -> Any:
        return self.finding.evidence.get("threshold")

    @property
    def measured(self) -> Any:
        return self.finding.evidence.get("measured")

    @property
    def name(self) -> str:
        """What was measured; those of older runs do not say."""
        return str(self.finding.evidence.get("name") or "value")

    @property
    def unit(self) -> str:
        return str(self.finding.evidence.get("unit") or "")


@dataclass(frozen=True)
class SheetCell:
    """One image of a sheet: the SVG view box that selects it, its class name, and the predicted class name if any."""

    box: str
    label: str
    guess: str | None

    @property
    def is_wrong(self) -> bool:
        return self.guess is not None and self.guess != self.label


@dataclass(frozen=True)
class Sheet:
    """A PNG of many images in a grid. `width` and `height` are in pixels."""

    name: str
    width: int
    height: int
    cells: tuple[SheetCell, ...]


@dataclass(frozen=True)
class Step:
    """A pre-training check. `full` says that only `checks = full` runs it; `shown` is None if it was not run."""

    title: str
    asks: str
    full: bool
    shown: FindingView | None
    sheet: Sheet | None


@dataclass(frozen=True)
class ChecksTab:
    """`/runs/{id}?tab=checks`. `troubles` are the findings other than the checks' own; `rules` says of each group
    of rules why it could not look at the run, None if it did; `filters_step` is the step of the checkpoint whose
    first-layer filters are drawn."""

    level: str
    steps: tuple[Step, ...]
    troubles: tuple[FindingView, ...]
    rules: tuple[tuple[str, str | None], ...]
    strip: PredictionStrip | None
    filters_step: int | None


STEPS: dict[str, tuple[str, str, bool]] = {
    "check/input": (
        "Input batch",
        "The first images, augmented, as the network receives them in the first step: check images and labels.",
        False,
    ),
    "check/start_loss": (
        "Loss at the start",
        "Expected at initialization: the same probability for every class.",
        False,
    ),
    "check/logits": (
        "Logit range",
        "The last layer must be able to output negative logits as well as positive ones.",
        False,
    ),
    "check/zeroed": (
        "Zeroed-input check",
        "One step on zeroed images: the loss should be higher than with the images.",
        False,
    ),
    "check/apart": (
        "Batch independence",
        "The gradient of one image's outputs at the inputs of the batch: it must be zero for all other images.",
        False,
    ),
    "check/one_batch": (
        "Overfit one batch",
        "Without regularization, a working network memorizes one batch.",
        True,
    ),
    "check/twins": (
        "Input-independent baseline",
        "The run's first steps on the images, and again on zeroed images.",
        True,
    ),
}


def finding_views(findings: Sequence[FindingPublic]) -> tuple[FindingView, ...]:
    return tuple(FindingView(item, small_plot(item.evidence)) for item in findings)


def checks_tab(runs: Runs, datasets: Datasets, run: RunPublic, findings: Sequence[FindingPublic]) -> ChecksTab:
    """The tab's context. Class names and the prediction strip are missing if the dataset was deleted or replaced."""
    record = datasets.found_for(run.train_spec.dataset)
    names: Sequence[str] = ()
    strip = None
    if record is not None:
        names = record.target_names(run.train_spec.target)
        split = record.validation_split
        labels = record.target_labels(run.train_spec.target, datasets.labels(record.name, split))
        strip = prediction_strip(runs.folder(run.id), split, labels, names)
    kept = [item.step for item in runs.checkpoints(run.id)]
    by_kind = {item.finding.kind: item for item in finding_views(findings)}
    steps = tuple(
        Step(title, asks, full, by_kind.get(kind), _sheet(by_kind.get(kind), names))
        for kind, (title, asks, full) in STEPS.items()
    )
    found = finding_views([item for item in findings if not item.is_check and item.kind != COVERAGE])
    return ChecksTab(run.train_spec.checks, steps, found, _rules(findings), strip, kept[-1] if kept else None)


def _rules(findings: Sequence[FindingPublic]) -> tuple[tuple[str, str | None], ...]:
    recorded = [item.evidence["rules"] for item in findings if item.kind == COVERAGE and "rules" in item.evidence]
    return tuple((what, reason) for what, reason in recorded[-1]) if recorded else ()


def _sheet(item: FindingView | None, names: Sequence[str]) -> Sheet | None:
    if item is None or "sheet" not in item.finding.evidence:
        return None
    evidence: Mapping[str, Any] = item.finding.evidence
    placed = evidence["sheet"]
    across, width, height = placed["columns"], placed["width"], placed["height"]
    guesses = evidence.get("guesses")
    cells = tuple(
        SheetCell(
            f"{index % across * width} {index // across * height} {width} {height}",
            _name(names, evidence["labels"][index]),
            None if guesses is None else _name(names, guesses[index]),
        )
        for index in range(placed["count"])
    )
    return Sheet(placed["name"], across * width, -(-placed["count"] // across) * height, cells)


def _name(names: Sequence[str], label: int) -> str:
    return names[label] if label < len(names) else f"class {label}"
