"""Presets and overrides: build a complete TrainSpec from a preset and a few settings. Free of torch."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from trainer.errors import TrainerError
from trainer.spec.messages import in_words
from trainer.spec.numbers import ambiguity
from trainer.spec.part import Part
from trainer.spec.suggest import suggestion
from trainer.spec.train_spec import TrainSpec


class Preset(Part):
    """A named partial spec, with a short and a long description, reported results, and the address of its source."""

    name: str
    title: str
    summary: str
    description: str
    reported: str | None = None
    source: str | None = None
    spec: dict[str, Any]


class SpecError(TrainerError, ValueError):
    """The spec is invalid. `fields` maps each invalid dotted field to its error."""

    code = "invalid_spec"

    def __init__(self, fields: Mapping[str, str]) -> None:
        self.fields = dict(fields)
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in self.fields.items()))


def build_spec(dataset: str, preset: str, overrides: Mapping[str, Any] | None = None) -> TrainSpec:
    """Build the spec of `preset` on `dataset` with dotted `overrides` such as {"optimizer.lr": 1e-3}.

    Raises SpecError, naming each field that is unknown or out of bounds.
    """
    known = presets()
    if preset not in known:
        meant = suggestion(preset, known) or f"; there are {', '.join(known)}"
        raise SpecError({"preset": f"unknown preset {preset!r}{meant}"})
    return apply_overrides({**known[preset].spec, "preset": preset, "dataset": {"name": dataset}}, overrides or {})


def apply_overrides(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> TrainSpec:
    """Validate `values` after setting each dotted override. Raises SpecError."""
    merged = _deep_copy(values)
    unknown = {}
    for dotted, value in overrides.items():
        if dotted.split(".")[0] in ("dataset", "preset"):
            unknown[f"overrides.{dotted}"] = "unknown field"
        elif not _set(merged, dotted.split("."), value, TrainSpec):
            unknown[f"overrides.{dotted}"] = f"unknown field{suggestion(dotted, settable())}"
    wrong = unknown | {
        f"overrides.{dotted}": reason for dotted, value in overrides.items() if (reason := _misread(dotted, value))
    }
    if wrong:
        raise SpecError(wrong)
    if "epochs" in overrides and "budget.minutes" not in overrides:
        merged.pop("budget", None)  # epochs replace the preset's time budget
    try:
        return TrainSpec.model_validate(merged)
    except ValidationError as error:
        raise SpecError(_problems(error)) from None


def _problems(error: ValidationError) -> dict[str, str]:
    """Map each invalid field to its error. An impossible combination is reported for each of its fields."""
    found: dict[str, str] = {}
    for item in error.errors(include_input=False, include_url=False):
        reason = in_words(item)
        named = item.get("ctx", {}).get("fields")
        found |= {f"overrides.{name}": reason for name in named} if named else {_request_field(item["loc"]): reason}
    return found


def _request_field(loc: tuple[int | str, ...]) -> str:
    """Name of the request field that sets the spec's field at `loc`."""
    if loc[:1] == ("dataset",):
        return "dataset"
    return "overrides." + (".".join(map(str, loc)) or "spec")


def _deep_copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _deep_copy(value) if isinstance(value, Mapping) else value for key, value in values.items()}


def _set(values: dict[str, Any], path: list[str], value: Any, part: type[BaseModel]) -> bool:
    """Set the field at `path`, a field of the model `part`. Returns False if there is no such field."""
    field = part.model_fields.get(path[0])
    if field is None:
        return False
    nested = field.annotation if isinstance(field.annotation, type) else None
    if nested is not None and issubclass(nested, BaseModel):
        if len(path) == 1:
            return False
        return _set(values.setdefault(path[0], {}), path[1:], value, nested)
    if len(path) > 1:
        return False
    values[path[0]] = value
    return True


def settable(part: type[BaseModel] = TrainSpec) -> Iterator[str]:
    """Yield the dotted names of the fields that overrides may set."""
    for name, field in part.model_fields.items():
        if part is TrainSpec and name in ("dataset", "preset"):
            continue
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from (f"{name}.{inner}" for inner in settable(field.annotation))
        else:
            yield name


def takes_integers(dotted: str) -> bool:
    """Whether the spec's field takes whole numbers only; false where there is no such field."""
    annotation = _annotation(dotted)
    return annotation is int or (set(get_args(annotation)) == {int, type(None)})


def number_type(dotted: str) -> type[int] | type[float] | None:
    """The type of the field's numbers, also of those in a list; None where it takes none, or does not exist."""
    found = set(_leaves(_annotation(dotted)))
    return int if int in found else float if float in found else None


def ambiguous_number(dotted: str, text: str) -> str | None:
    """Return what is wrong with `text` as a value of the field if it is a number that can be read in two ways."""
    numbers = number_type(dotted)
    return None if numbers is None else ambiguity(text, integer=numbers is int)


def _misread(dotted: str, value: Any) -> str | None:
    """As pydantic reads a text, "1.000" is the integer 1."""
    return ambiguous_number(dotted, value) if isinstance(value, str) else None


def _annotation(dotted: str) -> Any:
    part: type[BaseModel] = TrainSpec
    *parents, last = dotted.split(".")
    for name in parents:
        field = part.model_fields.get(name)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return None
        part = field.annotation
    return part.model_fields[last].annotation if last in part.model_fields else None


def _leaves(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    inner = () if get_origin(annotation) is Literal else get_args(annotation)
    if not inner:
        yield annotation
    for part in inner:
        yield from _leaves(part)


def flatten(spec: TrainSpec) -> dict[str, Any]:
    """The spec as dotted field → value, without dataset and preset."""
    return _flatten(spec.model_dump(mode="json", exclude={"dataset", "preset"}))


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def differences(spec: TrainSpec, base: TrainSpec) -> dict[str, tuple[Any, Any]]:
    """Dotted field → (value in `base`, value in `spec`) for each field in which they differ."""
    mine, theirs = flatten(spec), flatten(base)
    return {key: (theirs[key], mine[key]) for key in mine if mine[key] != theirs[key]}


def changed_from_preset(spec: TrainSpec) -> dict[str, tuple[Any, Any]] | None:
    """The settings of `spec` that differ from its preset's, as in `differences`; None if there is no such preset."""
    if spec.preset not in presets():
        return None
    return differences(spec, build_spec(spec.dataset.name, spec.preset))


@cache
def presets() -> dict[str, Preset]:
    """The presets that ship with the trainer, in the order of their files' names."""
    folder = resources.files("trainer.spec") / "presets"
    found = {}
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        if entry.name.endswith(".toml"):
            preset = Preset.model_validate(tomllib.loads(entry.read_text("utf-8")))
            found[preset.name] = preset
    return found
