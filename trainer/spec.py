"""What a run is asked to do: a validated, frozen `TrainSpec`, its presets and its overrides. Free of torch."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DatasetSpec(Part):
    name: str = Field(description="The data set to train on.", min_length=1, max_length=80)
    sha256: dict[str, str] = Field(
        default_factory=dict, description="Hash of each array, pinned when the run was queued."
    )


class ModelSpec(Part):
    name: Literal["mlp", "cnn"] = Field("cnn", description="Network architecture.")
    widths: tuple[Annotated[int, Field(ge=1, le=8192)], ...] = Field(
        (),
        max_length=8,
        description="Hidden widths (mlp) or channels of the convolutions (cnn); empty takes the usual ones.",
    )
    dropout: FiniteFloat = Field(
        0.0, ge=0, lt=1, description="Share of activations dropped before each hidden linear layer."
    )
    final_relu: bool = Field(
        False, description="A ReLU after the last layer, as the origin had: it cuts off half of every logit."
    )


class OptimizerSpec(Part):
    name: Literal["adam", "adamw", "sgd"] = Field("adam", description="Update rule; Adam forgives a poor rate.")
    lr: FiniteFloat = Field(1e-3, gt=0, le=10, description="Learning rate: the first thing to tune, on a log scale.")
    weight_decay: FiniteFloat = Field(
        0.0, ge=0, le=1, description="Pulls weights towards zero; try 5e-4 when overfitting."
    )
    momentum: FiniteFloat = Field(0.9, ge=0, lt=1, description="SGD only: how much of the last step is kept.")
    nesterov: bool = Field(False, description="SGD only: look ahead along the momentum.")

    @model_validator(mode="after")
    def nesterov_needs_momentum(self) -> OptimizerSpec:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class ScheduleSpec(Part):
    name: Literal["constant", "cosine"] = Field(
        "constant", description="How the rate moves; cosine anneals to zero by the end."
    )
    warmup_epochs: FiniteFloat = Field(0.0, ge=0, le=1000, description="Epochs over which the rate rises from zero.")


class AugmentSpec(Part):
    crop: int = Field(
        0,
        ge=0,
        le=32,
        description="Reflect-pad by this many pixels, then crop at random; 4 is usual at 32 px.",
    )
    flip: bool = Field(False, description="Mirror half of the images left to right.")


class TrainSpec(Part):
    """Everything that decides a run's numbers. Field descriptions are the form's help texts."""

    dataset: DatasetSpec
    preset: str | None = Field(None, description="The preset that this spec was made from.")
    target: Literal["fine", "coarse"] = Field(
        "fine", description="Learn the classes (fine) or their superclasses (coarse)."
    )
    model: ModelSpec = ModelSpec()
    optimizer: OptimizerSpec = OptimizerSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    augment: AugmentSpec = AugmentSpec()
    loss: Literal["cross_entropy", "mse"] = Field(
        "cross_entropy", description="Cross-entropy on the logits, or squared error against one-hot labels."
    )
    label_smoothing: FiniteFloat = Field(
        0.0, ge=0, lt=1, description="Share of the target spread over all classes; cross-entropy only."
    )
    epochs: int = Field(10, ge=1, le=100_000, description="Passes over the training split.")
    max_steps: int | None = Field(
        None, ge=1, le=100_000_000, description="Ends the run after this many steps, whatever the epochs."
    )
    batch_size: int = Field(64, ge=1, le=65_536, description="Images a step.")
    val_fraction: FiniteFloat = Field(
        0.1, ge=0, le=0.5, description="Share of the training split held out to choose the best epoch."
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Decides weights, order and augmentation.")
    precision: Literal["auto", "float32", "bf16"] = Field(
        "auto",
        description="Number format of the forward and backward pass; auto picks what the device does well.",
    )
    overfit_one_batch: bool = Field(
        False, description="Train on one fixed batch: a network that cannot learn it is broken."
    )
    log_every: int = Field(
        0, ge=0, le=100_000, description="Steps between logged training points; 0 takes about 200 an epoch."
    )
    checkpoint_minutes: FiniteFloat = Field(
        5.0, gt=0, le=1440, description="Longest time between checkpoints, in minutes."
    )

    @model_validator(mode="after")
    def parts_fit_together(self) -> TrainSpec:
        if self.loss == "mse" and self.label_smoothing:
            raise ValueError("label_smoothing needs loss = cross_entropy")
        return self


class Preset(Part):
    """A named starting point: a partial spec and what to expect of it."""

    name: str
    title: str
    description: str
    reported: str | None = None
    spec: dict[str, Any]


class SpecError(ValueError):
    """A spec that cannot be built; `fields` maps each dotted field to what is wrong with it."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self.fields = dict(fields)
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in self.fields.items()))


def build_spec(dataset: str, preset: str, overrides: Mapping[str, Any] | None = None) -> TrainSpec:
    """Make the spec of `preset` on `dataset` with dotted `overrides` such as {"optimizer.lr": 1e-3}.

    Raises SpecError, naming each field that is unknown or out of bounds.
    """
    known = presets()
    if preset not in known:
        raise SpecError({"preset": f"unknown preset {preset!r}; there are {', '.join(known)}"})
    return apply_overrides({**known[preset].spec, "preset": preset, "dataset": {"name": dataset}}, overrides or {})


def apply_overrides(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> TrainSpec:
    """Validate `values` after setting each dotted override. Raises SpecError."""
    merged = _deep_copy(values)
    unknown = {}
    for dotted, value in overrides.items():
        if dotted.split(".")[0] in ("dataset", "preset") or not _set(merged, dotted.split("."), value, TrainSpec):
            unknown[f"overrides.{dotted}"] = "unknown field"
    if unknown:
        raise SpecError(unknown)
    try:
        return TrainSpec.model_validate(merged)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        raise SpecError(
            {_asked_as(item["loc"]): item["msg"].removeprefix("Value error, ") for item in problems}
        ) from None


def _asked_as(loc: tuple[int | str, ...]) -> str:
    """The field of a request that set the spec's field at `loc`."""
    if loc[:1] == ("dataset",):
        return "dataset"
    return "overrides." + (".".join(map(str, loc)) or "spec")


def _deep_copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _deep_copy(value) if isinstance(value, Mapping) else value for key, value in values.items()}


def _set(values: dict[str, Any], path: list[str], value: Any, part: type[BaseModel]) -> bool:
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


def flatten(spec: TrainSpec) -> dict[str, Any]:
    """The spec as dotted field → value, without the data set's hashes."""
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


@cache
def presets() -> dict[str, Preset]:
    """The presets that ship with the trainer, in the order of their files' names."""
    folder = resources.files("trainer") / "presets"
    found = {}
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        if entry.name.endswith(".toml"):
            preset = Preset.model_validate(tomllib.loads(entry.read_text("utf-8")))
            found[preset.name] = preset
    return found
