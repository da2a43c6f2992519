"""The name of an ensemble in a request: the ids of its runs, joined by +."""

from __future__ import annotations

JOINT = "+"


def members_of(model: str) -> list[str]:
    """Return the run ids of a model: one for a run, several for an ensemble."""
    return model.split(JOINT)
