"""The launch form: one field per setting of a TrainSpec, and the parsing of its texts into overrides.

An empty field means the preset's value, so the filled fields are the changed settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from app.display.formatting import setting
from app.display.labels import by_heading, setting_label
from app.runs.variants import FOLD, all_folds
from app.web.launch.ambiguous import question
from trainer.spec.catalog import MODELS
from trainer.spec.preset import SpecError, build_spec, differences, flatten, presets
from trainer.spec.train_spec import TrainSpec

Kind = Literal["number", "choice", "text", "list", "network"]
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_INTEGER = re.compile(r"[+-]?\d{1,19}")

LISTS = frozenset({"model.widths", "schedule.milestones", "augment.resolutions", "augment.resolution_until"})
# Settings that have an effect only with certain values of another one: a `!` excludes a value.
NEEDS: dict[str, tuple[str, str]] = {
    "optimizer.momentum": ("optimizer.name", "sgd muon"),
    "optimizer.nesterov": ("optimizer.name", "sgd"),
    "optimizer.rest": ("optimizer.name", "muon"),
    "optimizer.rest_lr": ("optimizer.name", "muon"),
    "schedule.warmup_epochs": ("schedule.name", "!range_test"),
    "schedule.peak": ("schedule.name", "one_cycle"),
    "schedule.decay_from": ("schedule.name", "trapezoid"),
    "schedule.milestones": ("schedule.name", "multi_step"),
    "schedule.factor": ("schedule.name", "multi_step"),
    "schedule.final": ("schedule.name", "cosine linear one_cycle"),
    "augment.padding": ("augment.crop", "!0"),
    "augment.alternating": ("augment.flip", "true"),
    "augment.randaugment_magnitude": ("augment.randaugment", "!0"),
    "augment.resolution_until": ("augment.resolutions", "!none"),
    "model.unfreeze_epoch": ("model.freeze", "true"),
    "model.normalization": ("model.weights", "!none"),
    "label_smoothing": ("loss", "cross_entropy"),
    "class_weights": ("loss", "cross_entropy"),
    "effective_beta": ("class_weights", "effective"),
    "focal_gamma": ("loss", "cross_entropy"),
    "logit_adjustment": ("loss", "cross_entropy"),
    "val_fraction": ("val_folds", "0"),
    "val_fold": ("val_folds", "!0"),
    "stop_on_failed_checks": ("checks", "!off"),
}


@dataclass(frozen=True)
class SettingField:
    """One row of the form. `value` is the entered text, `placeholder` the preset's value, `kind` the control.

    `needs` names another field and the values of it, separated by spaces, with which this one has an effect.
    """

    name: str
    label: str
    why: str
    kind: Kind
    choices: tuple[tuple[str, str], ...] = ()
    value: str = ""
    placeholder: str = ""
    error: str = ""
    needs: tuple[str, str] | None = None


@dataclass(frozen=True)
class FieldGroup:
    title: str
    fields: tuple[SettingField, ...]

    @property
    def touched(self) -> bool:
        return any(field.value or field.error for field in self.fields)


def setting_groups(
    dataset: str, preset: str, typed: Mapping[str, str], errors: Mapping[str, str]
) -> tuple[FieldGroup, ...]:
    """All settings in groups; `preset` must exist."""
    defaults = preset_values(dataset, preset)
    fields = {
        field.name: replace(
            field,
            value=typed.get(field.name, ""),
            placeholder=defaults[field.name],
            error=errors.get(field.name, ""),
        )
        for field in _fields(TrainSpec)
    }
    return tuple(
        FieldGroup(heading, tuple(fields[name] for name in names)) for heading, names in by_heading(fields).items()
    )


def preset_values(dataset: str, preset: str) -> dict[str, str]:
    return {name: setting(value) for name, value in flatten(build_spec(dataset, preset)).items()}


def typed_from(spec: TrainSpec) -> dict[str, str]:
    """The form's texts by field that, applied to the spec's preset, give the spec."""
    base = build_spec(spec.dataset.name, spec.preset or next(iter(presets())))
    return {name: _as_typed(value) for name, (_, value) in differences(spec, base).items()}


def parse_overrides(typed: Mapping[str, str]) -> dict[str, Any]:
    return {name: _parse(name, text.strip()) for name, text in typed.items() if text.strip()}


def split_variants(typed: Mapping[str, str]) -> tuple[dict[str, str], dict[str, Any]]:
    """(texts shared by all runs, values that vary): `1e-4, 3e-4`, `1e-4..1e-2`, or lists separated by `;`.

    The fold of a cross-validation varies if none is chosen. The second has the format of `NewVariants.vary`. Raises
    SpecError: a number can be read in two ways.
    """
    kinds = {field.name: field.kind for field in _fields(TrainSpec)}
    asked = {name: question(name, text, is_list=kinds.get(name) == "list") for name, text in typed.items()}
    if any(asked.values()):
        raise SpecError({f"overrides.{name}": text for name, text in asked.items() if text})
    same: dict[str, str] = {}
    vary: dict[str, Any] = {}
    for name, text in typed.items():
        separator = {"number": ",", "network": ",", "list": ";"}.get(kinds.get(name, ""))
        ends = text.split("..")
        if kinds.get(name) == "number" and len(ends) == 2 and all(_NUMBER.fullmatch(end.strip()) for end in ends):
            vary[name] = {"low": float(ends[0]), "high": float(ends[1])}
        elif separator and separator in text:
            parts = [part.strip() for part in text.split(separator) if part.strip()]
            vary[name] = [_parse(name, part) for part in parts]
        else:
            same[name] = text
    folds = {} if FOLD in vary else all_folds({name: _parse(name, text) for name, text in same.items() if text.strip()})
    return same, vary | folds


def _as_typed(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else "" if value is None else setting(value)


def _parse(name: str, text: str) -> Any:
    """The value of a text. Other texts than numbers stay strings, which the spec's validation then checks."""
    if text in ("true", "false"):
        return text == "true"
    if name in LISTS and all(_NUMBER.fullmatch(part.strip()) for part in text.split(",")):
        return [_parse("", part.strip()) for part in text.split(",")]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


def _fields(part: type[BaseModel], prefix: str = "") -> Iterator[SettingField]:
    for name, info in part.model_fields.items():
        if not prefix and name in ("dataset", "preset"):
            continue
        nested = info.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            yield from _fields(nested, f"{name}.")
        else:
            yield _field(prefix + name, info)


def _field(name: str, info: FieldInfo) -> SettingField:
    choices: tuple[tuple[str, str], ...] = ()
    kind: Kind = "number"
    if info.annotation is bool:
        kind, choices = "choice", (("true", "yes"), ("false", "no"))
    elif get_origin(info.annotation) is Literal:
        kind, choices = "choice", tuple((word, word.replace("_", "-")) for word in get_args(info.annotation))
    elif name == "model.name":
        kind, choices = "network", tuple((known.name, known.description) for known in MODELS.values())
    elif name in LISTS:
        kind = "list"
    elif info.annotation is str:
        kind = "text"
    return SettingField(name, setting_label(name), info.description or "", kind, choices, needs=NEEDS.get(name))
