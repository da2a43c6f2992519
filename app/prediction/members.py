"""How an ensemble is named in a request: the ids of its runs, joined."""

from __future__ import annotations

JOINT = "+"


def members_of(model: str) -> list[str]:
    """The runs that answer: a model is named by a run's id, an ensemble by its members' ids, joined."""
    return model.split(JOINT)
