"""What the launch page is given to render."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.runs.public import RunPublic
from app.web.datasets.view import DatasetCard
from app.web.launch.form import FieldGroup
from trainer.spec.preset import Preset


@dataclass(frozen=True)
class PresetCard:
    """`values` are the preset's settings as the form's fields show them."""

    preset: Preset
    values: dict[str, str]


@dataclass(frozen=True)
class LaunchPage:
    """`/runs/new`. `errors` are by field; `parent` is the run whose settings are filled in."""

    datasets: tuple[DatasetCard, ...]
    dataset: str
    presets: tuple[PresetCard, ...]
    preset: str
    groups: tuple[FieldGroup, ...]
    typed: Mapping[str, str]
    errors: Mapping[str, str]
    parent: RunPublic | None = None
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
        """Errors that no field on the page shows."""
        shown = {item.name for group in self.groups for item in group.fields} | {
            "dataset",
            "preset",
            "name",
            "expectation",
        }
        return {name: text for name, text in self.errors.items() if name not in shown}

    def _is_common(self, card: PresetCard) -> bool:
        name = card.preset.name
        return not name.startswith("baseline") or name in ("baseline-cnn", "baseline-mlp")
