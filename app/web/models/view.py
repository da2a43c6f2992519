"""The template context of `/models`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.models.registry import ModelAlias
from app.runs.public import RunPublic


@dataclass(frozen=True)
class ModelsPage:
    """`/models`. `models` are the aliases with their runs, several for an ensemble; `runs` are those that can get an
    alias; `names` are run names by id."""

    models: tuple[tuple[ModelAlias, tuple[RunPublic, ...]], ...]
    runs: tuple[RunPublic, ...]
    names: Mapping[str, str]
    section: str = "models"
