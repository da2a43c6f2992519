"""The cards above the tabs of a run: one per cause, with its symptoms below it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.diagnosis.findings import FindingPublic
from app.web.runs.checks_tab import FindingView, finding_views
from trainer.diagnosis.causes import ORDER
from trainer.diagnosis.findings import COVERAGE

LEVELS = ("fail", "warn", "look", "info")  # in the order of the cards


@dataclass(frozen=True)
class Card:
    """A cause and its symptoms, each the latest finding of its kind."""

    shown: FindingView
    symptoms: tuple[FindingView, ...]


def finding_cards(findings: Sequence[FindingPublic]) -> tuple[Card, ...]:
    """Problems first, in the order of the causes, then reviews and information; what has ended comes last."""
    latest = {item.kind: item for item in findings if _is_notable(item)}
    causes = [item for item in latest.values() if item.cause not in latest]
    views = dict(zip(latest, finding_views([*latest.values()]), strict=True))
    return tuple(Card(views[item.kind], _symptoms(item, views.values())) for item in sorted(causes, key=_place))


def _symptoms(cause: FindingPublic, views: Iterable[FindingView]) -> tuple[FindingView, ...]:
    """The symptoms of a cause, without one that its message repeats."""
    mine = (view for view in views if view.finding.cause == cause.kind)
    return tuple(view for view in mine if view.finding.message not in cause.message)


def _is_notable(item: FindingPublic) -> bool:
    """Problems and reviews, and what training shows; not the checks' information."""
    return item.level in ("fail", "warn", "look" if not item.is_check else "fail") or (
        item.level == "info" and not item.is_check and item.kind != COVERAGE
    )


def _place(item: FindingPublic) -> tuple[bool, int, int]:
    level = LEVELS.index(item.level) if item.level in LEVELS else len(LEVELS)
    return item.ended is not None, level, ORDER.index(item.kind) if item.kind in ORDER else len(ORDER)
