"""Findings: the results of checks and rules, with their evidence and a suggested change. Does not import torch.

A cause is told in one finding. Findings with a `cause` are its symptoms, and are shown below it. A finding ends when
it no longer holds; it then stays in the record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from trainer.rundir.events import EventWriter

Level = Literal["pass", "info", "look", "fail"]  # shown as passed, info, review and problem
COVERAGE = "coverage"  # kind of the record of which rules could look


@dataclass(frozen=True)
class Remedy:
    """A suggested change of the spec. A copy of the run with `overrides` tests the finding; `label` describes them."""

    label: str
    overrides: dict[str, Any]


@dataclass(frozen=True)
class Finding:
    """The result of a rule or a pre-training check.

    `kind` names the rule; the kinds of the pre-training checks start with "check/". `evidence` is plain JSON: a
    `measured` value with its `name`, `unit` and `threshold`, and under "lines" the series to plot, {name: [[x], [y]]}.
    `cause` is the kind of the finding that explains this one.
    """

    kind: str
    level: Level
    message: str
    evidence: dict[str, Any] = field(default_factory=dict)
    remedy: Remedy | None = None
    cause: str | None = None


def value(name: str, measured: float, threshold: float, unit: str = "") -> dict[str, Any]:
    """Return the part of a finding's evidence that is one number: with its name, unit and threshold."""
    return {"name": name, "measured": float(measured), "threshold": float(threshold), "unit": unit}


def tell(events: EventWriter, step: int, finding: Finding) -> None:
    """Write a "finding" event, and a "log" event as well if it is a problem."""
    evidence = dict(finding.evidence)
    if finding.remedy is not None:
        evidence["remedy"] = vars(finding.remedy)
    if finding.cause is not None:
        evidence["cause"] = finding.cause
    events.emit(
        "finding",
        step=step,
        kind=finding.kind,
        level=finding.level,
        message=finding.message,
        evidence=evidence,
    )
    if finding.level == "fail":
        events.emit("log", line=f"problem: {finding.message}")


def withdraw(events: EventWriter, step: int, kind: str) -> None:
    """Write that the latest finding of `kind` no longer holds since `step`."""
    events.emit("finding_ended", step=step, kind=kind)
    events.emit("log", line=f"no longer holds since step {step:,}: {kind.replace('_', ' ')}")
