"""The template context of the launch page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.runs.public import RunPublic
from app.web.datasets.view import DatasetCard
from app.web.launch.form import FieldGroup
from trainer.spec.preset import Preset


@dataclass(frozen=True)
class PresetCard:
    """A preset. `values` are its settings as texts of the form's fields."""

    preset: Preset
    values: dict[str, str]


@dataclass(frozen=True)
class LaunchPage:
    """`/runs/new`. `errors` are messages by field; `parent` is the run whose settings fill the form."""

    datasets: tuple[DatasetCard, ...]
    dataset: str
    presets: tuple[PresetCard, ...]
    preset: str
    groups: tuple[FieldGroup, ...]
    typed: Mapping[str, str]
    errors: Mapping[str, str]
    parent: RunPublic | None = None
    projects: tuple[str, ...] = ()
    section: str = ""

    @property
    def common(self) -> tuple[PresetCard, ...]:
        return tuple(card for card in self.presets if self._is_common(card))

    @property
    def others(self) -> tuple[PresetCard, ...]:
        return tuple(card for card in self.presets if not self._is_common(card))

    @property
    def other_is_chosen(self) -> bool:
        return any(card.preset.name == self.preset for card in self.others)

    @property
    def stray_errors(self) -> dict[str, str]:
        """Errors of names that are no field on the page."""
        shown = {item.name for group in self.groups for item in group.fields} | {
            "dataset",
            "preset",
            "name",
            "project",
            "expectation",
        }
        return {name: text for name, text in self.errors.items() if name not in shown}

    def _is_common(self, card: PresetCard) -> bool:
        name = card.preset.name
        return not name.startswith("baseline") or name == "baseline-cnn"
