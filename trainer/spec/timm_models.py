"""What is known of timm's networks without importing timm: a table that tests/timm_table.py writes. Free of torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from trainer.spec.suggest import suggestion

TIMM = "timm:"
TABLE = Path(__file__).with_name("timm_models.json")
INSTALL = "needs timm: install Trackside's extra with pip install '.[timm]'"

Interpolation = Literal["bilinear", "bicubic"]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class TimmWeights:
    """Published weights of a network: the side of their images in pixels, and how they were normalized and resized."""

    tag: str
    size: int
    mean: Triple
    std: Triple
    interpolation: Interpolation
    licence: str | None


@dataclass(frozen=True)
class TimmModel:
    """`flops` are those of one image of `size` px. Networks of one size have `smallest` = `size`. `linear_head`: its
    last layer is a linear one, which can be trained alone."""

    name: str
    parameters: int
    flops: int
    size: int
    smallest: int
    linear_head: bool
    drops_paths: bool
    default: str | None
    weights: dict[str, TimmWeights]

    @property
    def fixed(self) -> bool:
        return self.smallest == self.size


@cache
def timm_models() -> dict[str, TimmModel]:
    """The networks by name, without "timm:"."""
    table = json.loads(TABLE.read_text("utf-8"))
    norms: list[tuple[Triple, Triple]] = [(tuple(mean), tuple(std)) for mean, std in table["norms"]]
    return {
        name: TimmModel(
            name,
            entry["parameters"],
            entry["flops"],
            entry["size"],
            entry["smallest"],
            bool(entry["head"]),
            bool(entry["drop_path"]),
            entry.get("default"),
            {
                tag: TimmWeights(tag, size, norms[number][0], norms[number][1], _interpolation(mode), licence)
                for tag, (size, number, mode, licence) in entry.get("weights", {}).items()
            },
        )
        for name, entry in table["models"].items()
    }


def _interpolation(name: str) -> Interpolation:
    return "bilinear" if name == "bilinear" else "bicubic"


def known_version() -> str:
    """The version of timm whose networks are known."""
    return str(json.loads(TABLE.read_text("utf-8"))["timm"])


def is_timm(name: str) -> bool:
    return name.startswith(TIMM)


def timm_model(name: str) -> TimmModel:
    """The network that `name` ("timm:resnet18" or "timm:resnet18.a1_in1k") means. Raises ValueError: there is none."""
    architecture, _, tag = name.removeprefix(TIMM).partition(".")
    found = timm_models().get(architecture)
    if found is None:
        meant = suggestion(architecture, timm_models())
        raise ValueError(f"timm {known_version()} has no network {architecture}{meant}")
    if tag and tag not in found.weights:
        there = ", ".join(found.weights) or "none"
        raise ValueError(f"timm {known_version()} has no weights {tag} of {architecture}; there are {there}")
    return found


def timm_weights(name: str) -> TimmWeights | None:
    """The published weights that `name` means: those of its tag, else the default ones. Raises as `timm_model` does."""
    found = timm_model(name)
    tag = name.removeprefix(TIMM).partition(".")[2] or found.default
    return None if tag is None else found.weights.get(tag)


def timm_is_missing() -> bool:
    return find_spec("timm") is None
