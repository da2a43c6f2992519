"""torchvision's networks for ImageNet, their weights, and a head of one's own in place of theirs."""

from __future__ import annotations

import copy
from pathlib import Path

import safetensors
import safetensors.torch
import torch
import torchvision
from torch import Tensor, nn

from trainer.spec.catalog import IMAGENET, MODELS
from trainer.spec.train_spec import ModelSpec

FORMATS = (".safetensors", ".pth", ".pt")


def make_pretrained(spec: ModelSpec, num_classes: int, image_size: int, *, pretrained: bool) -> nn.Module:
    """`pretrained` loads the weights that `spec` names, by download or from a file. Raises ValueError."""
    smallest = MODELS[spec.name].smallest
    if MODELS[spec.name].fixed and image_size != smallest:
        raise ValueError(f"model.input_size: {spec.name} takes images of {smallest} px only, not {image_size}")
    model: nn.Module = torchvision.models.get_model(spec.name.removeprefix(IMAGENET), weights=None)
    path, old = _head(model)
    if pretrained and spec.weights != "none":
        # A file's head is replaced in any case, so it may have any number of classes.
        _fill(model, {n: v for n, v in _weights(spec).items() if not n.startswith(f"{path}.")}, path, spec)
    model.set_submodule(path, nn.Linear(old.in_features, num_classes))
    return model


def split_head(model: nn.Module) -> tuple[nn.Module, nn.Linear]:
    """What comes before the head, giving features N×F, and the head; both share `model`'s parameters.

    Raises ValueError where `model` has no linear layer.
    """
    path, head = _head(model)
    *holders, last = path.split(".")
    backbone = holder = _shallow(model)
    for name in holders:
        inner = _shallow(holder.get_submodule(name))
        holder._modules[name] = inner
        holder = inner
    holder._modules[last] = nn.Identity()
    return backbone, head


def _shallow(module: nn.Module) -> nn.Module:
    """A copy whose children can be exchanged without touching `module`, which has the same parameters."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    return twin


def _head(model: nn.Module) -> tuple[str, nn.Linear]:
    """The last linear layer, with its path: fc, classifier.<last>, heads.head."""
    linear = [(path, module) for path, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError("model.freeze: the network has no linear head")
    return linear[-1]


def _fill(model: nn.Module, found: dict[str, Tensor], head: str, spec: ModelSpec) -> None:
    own = model.state_dict()
    wrong = [f"{n} has another shape" for n, value in found.items() if n in own and own[n].shape != value.shape]
    if not wrong:
        # Not strict, as old files have other names, which layers translate while loading.
        missing, unknown = model.load_state_dict(found, strict=False)
        wrong = [f"{n} is missing" for n in missing if not n.startswith(f"{head}.")]
        wrong += [f"{n} is unknown" for n in unknown]
    if wrong:
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise ValueError(f"model.weights: {spec.weights} is not of {spec.name}: {wrong[0]}{more}")


def _weights(spec: ModelSpec) -> dict[str, Tensor]:
    """Never a pickle that runs code: safetensors, or torch's format read as tensors only."""
    if spec.weights == "imagenet":
        return _imagenet(spec.name)
    path = Path(spec.weights)
    if path.suffix not in FORMATS:
        raise ValueError(f"model.weights: {path.name} is none of {', '.join(FORMATS)}")
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


def _imagenet(name: str) -> dict[str, Tensor]:
    """torchvision's best weights, downloaded into torch.hub's folder unless they are there."""
    enum = torchvision.models.get_model_weights(name.removeprefix(IMAGENET))
    try:
        return dict(enum["DEFAULT"].get_state_dict(progress=False, check_hash=True, weights_only=True))
    except Exception as error:  # as above, or no network
        raise ValueError(
            f"model.weights: imagenet's for {name} cannot be had: {type(error).__name__}: {error}"
        ) from error
