"""torchvision's networks for ImageNet, their weights, and a head of one's own in place of theirs."""

from __future__ import annotations

import copy
from pathlib import Path

import safetensors
import safetensors.torch
import torch
import torchvision
from torch import Tensor, nn

from trainer.catalog import IMAGENET
from trainer.spec import ModelSpec


def make_pretrained(spec: ModelSpec, num_classes: int, image_size: int, *, pretrained: bool) -> nn.Module:
    """`pretrained` loads the weights that `spec` names, by download or from a file. Raises ValueError, OSError."""
    name = spec.name.removeprefix(IMAGENET)
    more = {"image_size": image_size} if name.startswith("vit") else {}
    model: nn.Module = torchvision.models.get_model(name, weights=None, **more)
    if pretrained and spec.weights != "none":
        _load(model, spec)
    path, old = _head(model)
    _replace(model, path, nn.Linear(old.in_features, num_classes))
    return model


def split_head(model: nn.Module) -> tuple[nn.Module, nn.Linear]:
    """What comes before the head, giving features N×F, and the head; both share `model`'s parameters."""
    path, head = _head(model)
    backbone = copy.copy(model)
    backbone._modules = dict(model._modules)
    outer, *inner = path.split(".")
    if inner:
        holder = copy.copy(getattr(model, outer))
        holder._modules = dict(holder._modules)
        _replace(holder, ".".join(inner), nn.Identity())
        backbone._modules[outer] = holder
    else:
        backbone._modules[outer] = nn.Identity()
    return backbone, head


def _load(model: nn.Module, spec: ModelSpec) -> None:
    found = _weights(spec)
    own = model.state_dict()
    wrong = [name for name, value in found.items() if name not in own or own[name].shape != value.shape]
    missing = [name for name in own if name not in found and not name.endswith("num_batches_tracked")]
    if wrong or missing:
        example = (wrong or missing)[0]
        raise ValueError(f"model.weights: the file is not of {spec.name}: {example} does not fit")
    model.load_state_dict(found, strict=False)


def _weights(spec: ModelSpec) -> dict[str, Tensor]:
    """Never a pickle that runs code: safetensors, or torch's format read as tensors only."""
    if spec.weights == "imagenet":
        enum = torchvision.models.get_model_weights(spec.name.removeprefix(IMAGENET))
        return dict(enum["DEFAULT"].get_state_dict(progress=False, check_hash=True))
    path = Path(spec.weights)
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ValueError(f"model.weights: there is no file {path}") from None
    except Exception as error:  # torch raises whatever its reader came across
        raise ValueError(f"model.weights: {path.name} holds no weights that can be read safely") from error
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise ValueError(f"model.weights: {path.name} is not a plain table of weights")
    return loaded


def _head(model: nn.Module) -> tuple[str, nn.Linear]:
    """The last linear layer, with its path."""
    linear = [(path, module) for path, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError("model.freeze: the network has no linear head")
    return linear[-1]


def _replace(model: nn.Module, path: str, layer: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    holder = model.get_submodule(parent)
    holder._modules[name] = layer
