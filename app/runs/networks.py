"""Search of the networks that a run may train: ours, torchvision's and timm's."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import BaseModel, Field

from trainer.spec.catalog import MODELS, takes_weights
from trainer.spec.timm_models import TIMM, TimmModel, TimmWeights, timm_is_missing, timm_models

MOST = 200
_WORD = re.compile(r"[^\s_.:/-]+")


class Network(BaseModel):
    """A network, with published weights where `weights` is true. `parameters` and `flops` (of one image of `size` px)
    are given for timm's networks as published; null where they are not known."""

    name: str
    description: str
    weights: bool
    parameters: int | None = None
    flops: int | None = None
    size: int | None = Field(None, description="Side of the images in pixels that the network was published with.")
    fixed_size: bool = Field(False, description="It takes images of this size only.")
    licence: str | None = Field(None, description="That of the weights.")
    installed: bool = Field(True, description="Whether the package that builds it is installed.")


class Networks(BaseModel):
    items: list[Network]
    total: int = Field(description="How many networks match; `items` are the first of them.")


def find_networks(text: str, limit: int) -> Networks:
    """The networks whose names have all words of `text`: those that begin with it first, then the smaller first."""
    words = _WORD.findall(text.lower())
    found = [network for network in _all() if all(word in network.name.lower() for word in words)]
    beginning = text.strip().lower()
    ordered = sorted(found, key=lambda network: (not _begins(network, beginning), network.parameters or 0))
    return Networks(items=ordered[:limit], total=len(found))


def _begins(network: Network, text: str) -> bool:
    return network.name.startswith(text) or network.name.removeprefix(TIMM).startswith(text)


def _all() -> Iterator[Network]:
    for known in MODELS.values():
        yield Network(name=known.name, description=known.description, weights=takes_weights(known.name))
    installed = not timm_is_missing()
    for model in timm_models().values():
        ordered = sorted(model.weights.values(), key=lambda weights: weights.tag != model.default)
        for weights in (*ordered, None):
            yield _timm(model, weights, installed)


def _timm(model: TimmModel, weights: TimmWeights | None, installed: bool) -> Network:
    size = model.size if weights is None else weights.size
    parts = [
        f"{model.parameters / 1e6:.3g} M parameters",
        f"{model.flops / 1e9:.3g} GFLOPs at {model.size} px",
        "from scratch" if weights is None else f"weights for {size} px",
    ]
    return Network(
        name=f"{TIMM}{model.name}" + ("" if weights is None else f".{weights.tag}"),
        description=", ".join(parts),
        weights=weights is not None,
        parameters=model.parameters,
        flops=model.flops,
        size=size,
        fixed_size=model.fixed,
        licence=None if weights is None else weights.licence,
        installed=installed,
    )
