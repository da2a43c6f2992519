"""What `/models` is given to render."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.models.registry import ModelAlias
from app.runs.public import RunPublic


@dataclass(frozen=True)
class ModelsPage:
    """`models` are the names with the run each stands for, or the runs of its ensemble; `runs` can be named; `names`
    are runs' names by id."""

    models: tuple[tuple[ModelAlias, tuple[RunPublic, ...]], ...]
    runs: tuple[RunPublic, ...]
    names: Mapping[str, str]
    section: str = "models"
