"""Findings: the results of checks and rules, with their evidence and a suggested change. Does not import torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from trainer.rundir.events import EventWriter

Level = Literal["pass", "look", "info", "warn", "fail"]


@dataclass(frozen=True)
class Remedy:
    """A suggested change of the spec. A copy of the run with `overrides` tests the finding; `label` describes them."""

    label: str
    overrides: dict[str, Any]


@dataclass(frozen=True)
class Finding:
    """The result of a rule or a pre-training check.

    `kind` names the rule; the kinds of the pre-training checks start with "check/". `evidence` is plain JSON: the
    measured values, their threshold, and under "lines" the series to plot, {name: [[x], [y]]}.
    """

    kind: str
    level: Level
    message: str
    evidence: dict[str, Any] = field(default_factory=dict)
    remedy: Remedy | None = None


def tell(events: EventWriter, step: int, finding: Finding) -> None:
    """Write a "finding" event, and a "log" event as well if the level is "warn" or "fail"."""
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
