"""What a person needs to know before they use a model: where it comes from, how good it is, and where it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.formatting import half_width, percent
from app.mistakes import ClassResult
from app.model_registry import ModelAlias
from app.run_models import CheckpointPublic, RunPublic
from app.sparkline import Sparkline, sparkline
from trainer.data.format import DatasetRecord

SHOWN = 5


@dataclass(frozen=True)
class Measure:
    what: str
    value: str
    of: str


@dataclass(frozen=True)
class ModelCard:
    """`/models/{name}`. `classes` are by accuracy, the worst first; `checkpoint` is the one that answers."""

    name: str
    run: RunPublic
    names: tuple[str, ...]
    alias: ModelAlias | None
    record: DatasetRecord | None
    checkpoint: CheckpointPublic | None
    classes: tuple[ClassResult, ...]
    origin: str
    section: str = "models"

    @property
    def address(self) -> str:
        return f"{self.origin}/api/predict?model={self.name}"

    @property
    def spark(self) -> Sparkline:
        return sparkline(self.run.spark, self.run.total_steps)

    @property
    def measures(self) -> tuple[Measure, ...]:
        run, found = self.run, []
        if run.best_acc is not None:
            margin = f" ± {half_width(run.best_acc, run.val_count)}" if run.val_count else ""
            of = f"{run.val_count:,} held-out images, by which the checkpoint was chosen" if run.val_count else ""
            found.append(Measure("validation accuracy", f"{percent(run.best_acc)}{margin}%", of))
        test = run.summary.get("test/acc")
        if test is not None:
            count = self.record.test_count if self.record else None
            margin = f" ± {half_width(test, count)}" if count else ""
            of = f"{count:,} test images, looked at once" if count else "the test split, looked at once"
            found.append(Measure("test accuracy", f"{percent(test)}{margin}%", of))
        top5 = run.summary.get("test/acc5")
        if top5 is not None:
            found.append(Measure("right answer among five", f"{percent(top5)}%", "the test split"))
        return tuple(found)

    @property
    def worst(self) -> Sequence[ClassResult]:
        return self.classes[:SHOWN]

    @property
    def best(self) -> Sequence[ClassResult]:
        return self.classes[: -SHOWN - 1 : -1] if len(self.classes) > SHOWN else ()

    @property
    def limits(self) -> tuple[str, ...]:
        if self.record is None:
            return ("Its data set is no longer here: what it was trained on is known from its record alone.",)
        count = len(self.record.superclasses or ()) if self.run.spec.get("target") == "coarse" else None
        classes = count or len(self.record.classes)
        fit = {"crop": "cropped to the middle square", "pad": "padded to a square", "squash": "squashed to a square"}
        return (
            f"It knows {classes:,} classes and answers with one of them, whatever it is shown.",
            f"Images are {fit[self.record.fit]} and brought to {self.record.size}×{self.record.size} pixels; what is "
            "smaller than a few pixels then is lost.",
            f"It has seen {self.record.train_count:,} images of {self.record.name} ({self.record.source}). Its "
            "accuracy holds for images like those, and for no others.",
            "A probability is what the network says, not a promise: it was not calibrated.",
        )
