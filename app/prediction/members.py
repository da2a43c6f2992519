"""TODO docstring."""

from __future__ import annotations

JOINT = "+"


def members_of(model: str) -> list[str]:
    """The runs that answer: a model is named by a run's id, an ensemble by its members' ids, joined."""
    return model.split(JOINT)
