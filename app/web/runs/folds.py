"""The cross-validations of a group, as the page of its runs shows them."""

from __future__ import annotations

from dataclasses import dataclass

from app.display.formatting import interval, metric, metric_name, percent
from app.results.cross_validation import CrossValidation, FoldFigure, Pooled

LARGEST_MATRIX = 20  # classes; of more, the pairs that are confused most often are listed
MOST_PAIRS = 10


@dataclass(frozen=True)
class FigureLine:
    label: str
    value: str


@dataclass(frozen=True)
class ConfusedPair:
    label: str
    guess: str
    count: int


@dataclass(frozen=True)
class FoldsView:
    """`matrix` has the rows of a small pooled confusion matrix, `pairs` those of a large one; both may be empty."""

    found: CrossValidation
    figures: tuple[FigureLine, ...]
    accuracy: str
    matrix: tuple[tuple[str, tuple[int, ...]], ...]
    pairs: tuple[ConfusedPair, ...]

    @property
    def is_complete(self) -> bool:
        return self.found.finished == self.found.folds

    @property
    def settings(self) -> str:
        return " · ".join(text for text in (self.found.dataset, self.found.preset, self.found.changed) if text)


def folds_view(found: CrossValidation) -> FoldsView:
    pooled = found.pooled
    small = pooled is not None and len(pooled.classes) <= LARGEST_MATRIX
    return FoldsView(
        found,
        figures=tuple(FigureLine(metric_name(f"val/{name}"), _spread(name, of)) for name, of in found.figures.items()),
        accuracy="" if pooled is None else f"{percent(pooled.acc)}% {interval(pooled.acc, pooled.images)}",
        matrix=() if pooled is None or not small else _matrix(pooled),
        pairs=() if pooled is None or small else _pairs(pooled),
    )


def _spread(name: str, figure: FoldFigure) -> str:
    if figure.sd is None:
        return f"{metric(name, figure.mean)} (one fold)"
    if metric(name, figure.mean).endswith("%"):
        return f"{percent(figure.mean)} ± {percent(figure.sd)}%"
    return f"{metric(name, figure.mean)} ± {metric(name, figure.sd)}"


def _matrix(pooled: Pooled) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((name, tuple(row)) for name, row in zip(pooled.classes, pooled.matrix, strict=True))


def _pairs(pooled: Pooled) -> tuple[ConfusedPair, ...]:
    found = [
        ConfusedPair(pooled.classes[label], pooled.classes[guess], images)
        for label, row in enumerate(pooled.matrix)
        for guess, images in enumerate(row)
        if label != guess and images
    ]
    return tuple(sorted(found, key=lambda pair: -pair.count)[:MOST_PAIRS])
