"""What is said of a run besides its numbers: a verdict, its evidence, and what could be tried. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from trainer.rundir.events import EventWriter

Level = Literal["pass", "look", "info", "warn", "fail"]


@dataclass(frozen=True)
class Remedy:
    """`label` says what `overrides` of the spec change: a clone with them is the experiment that tests the finding."""

    label: str
    overrides: dict[str, Any]


@dataclass(frozen=True)
class Finding:
    """`kind` names the rule, "check/…" for those before the first step. `evidence` is plain JSON: numbers that were
    measured with the threshold that they were held against, and under "lines" what is drawn, {name: [[x], [y]]}."""

    kind: str
    level: Level
    message: str
    evidence: dict[str, Any] = field(default_factory=dict)
    remedy: Remedy | None = None


def tell(events: EventWriter, step: int, finding: Finding) -> None:
    evidence = dict(finding.evidence)
    if finding.remedy is not None:
        evidence["remedy"] = vars(finding.remedy)
    events.emit(
        "finding",
        step=step,
        kind=finding.kind,
        level=finding.level,
        message=finding.message,
        evidence=evidence,
    )
    if finding.level in ("warn", "fail"):
        events.emit("log", line=f"{finding.level}: {finding.message}")
