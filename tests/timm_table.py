"""Write trainer/spec/timm_models.json: what the launch form says of timm's networks. Takes 15 minutes of one core.

make timm-table, with the timm of constraints.txt. Networks are built on the "meta" device, without memory
for their weights.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg, list_models, list_pretrained
from torch import nn

from trainer.models.build import count_flops, count_parameters
from trainer.spec.timm_models import TABLE

SIZES = (32, 64, 96, 128, 160, 192)  # tried to find the smallest
ODD_SIZE = 136  # a network that takes this one and its smallest takes the sizes between in steps of 8


def main() -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    norms: list[list[list[float]]] = []
    models: dict[str, Any] = {}
    for architecture in list_models():
        try:
            models[architecture] = described(architecture, norms)
        except Exception as error:  # noqa: BLE001  not a classifier of RGB images
            sys.stderr.write(f"{architecture}: {type(error).__name__}: {error}"[:200] + "\n")
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in models.items())
    TABLE.write_text(
        f'{{"timm": {json.dumps(timm.__version__)},\n"norms": {json.dumps(norms)},\n"models": {{\n{lines}\n}}}}\n'
    )


def described(architecture: str, norms: list[list[list[float]]]) -> dict[str, Any]:
    own = config(architecture)
    size = own["input_size"][1]
    model = made(architecture)
    if own["input_size"] != (3, size, size):
        raise ValueError(f"takes {own['input_size']}")
    classifier = own.get("classifier")
    head = isinstance(classifier, str) and isinstance(model.get_submodule(classifier), nn.Linear)
    entry: dict[str, Any] = {
        "parameters": count_parameters(model),
        "flops": count_flops(model, size),
        "size": size,
        "smallest": size if own["fixed_input_size"] else smallest(model, size),
        "head": int(head),
        "drop_path": int(takes_drop_path(architecture)),
    }
    weights = {tag: weights_of(architecture, tag, norms) for tag in sorted(tags(architecture))}
    if weights:
        default = get_pretrained_cfg(architecture)
        entry |= {"default": default.tag if default is not None else next(iter(weights)), "weights": weights}
    return entry


def made(architecture: str, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return timm.create_model(architecture, pretrained=False, **options).eval()


def config(name: str) -> dict[str, Any]:
    found = get_pretrained_cfg(name, allow_unregistered=False)
    if found is None:
        return {"input_size": (3, 224, 224), "fixed_input_size": False, "classifier": None}
    return dict(found.to_dict())  # type: ignore[no-untyped-call]


def smallest(model: nn.Module, size: int) -> int:
    """The smallest side that the network takes; its own `size` if it does not take sides in steps of 8."""
    if size > ODD_SIZE and not takes(model, ODD_SIZE):
        return size
    return next((side for side in SIZES if side <= size and takes(model, side)), size)


def takes(model: nn.Module, side: int) -> bool:
    try:
        with torch.no_grad():
            model(torch.zeros(2, 3, side, side, device="meta"))
    except Exception:  # noqa: BLE001  a network may raise anything
        return False
    return True


def takes_drop_path(architecture: str) -> bool:
    try:
        made(architecture, drop_path_rate=0.1)
    except TypeError:
        return False
    return True


def tags(architecture: str) -> Iterator[str]:
    return (name.partition(".")[2] for name in list_pretrained(f"{architecture}.*"))


def weights_of(architecture: str, tag: str, norms: list[list[list[float]]]) -> list[Any]:
    """[side in pixels, number of the mean and deviation in `norms`, interpolation, licence or null]."""
    found = config(f"{architecture}.{tag}")
    norm = [list(found["mean"]), list(found["std"])]
    if norm not in norms:
        norms.append(norm)
    return [found["input_size"][1], norms.index(norm), found["interpolation"], found.get("license")]


if __name__ == "__main__":
    main()
