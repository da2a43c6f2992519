"""torchvision's ImageNet networks with their weights and a new linear head.

torchvision is imported when it is used: it loads torch's compiler, which takes as long as torch itself.
"""

from __future__ import annotations

import copy

from torch import Tensor, nn

from trainer.models.weights import read_weights, start_small
from trainer.spec.catalog import IMAGENET, MODELS
from trainer.spec.model_spec import PUBLISHED, ModelSpec


def make_pretrained(spec: ModelSpec, num_classes: int, image_size: int, *, pretrained: bool) -> nn.Module:
    """Return a torchvision network with a new head of `num_classes` outputs.

    `pretrained` loads the weights that `spec` names, by download or from a file. Raises ValueError: the image size does
    not fit, or the weights cannot be loaded or do not fit.
    """
    smallest = MODELS[spec.name].smallest
    if MODELS[spec.name].fixed and image_size != smallest:
        raise ValueError(f"model.input_size: {spec.name} takes images of {smallest} px only, not {image_size}")
    import torchvision.models

    model: nn.Module = torchvision.models.get_model(spec.name.removeprefix(IMAGENET), weights=None)
    path, old = _head(model)
    if pretrained and spec.weights != "none":
        found = _imagenet_weights(spec.name) if spec.weights in PUBLISHED else read_weights(spec)
        # The head is replaced in any case, so a file may have any number of classes.
        _load_weights(model, {n: v for n, v in found.items() if not n.startswith(f"{path}.")}, path, spec)
    head = nn.Linear(old.in_features, num_classes)
    if spec.weights != "none":
        start_small(head)
    model.set_submodule(path, head)
    return model


def split_head(model: nn.Module) -> tuple[nn.Module, nn.Linear]:
    """Return the backbone, which computes features N×F, and the head. Both share `model`'s parameters.

    Raises ValueError: `model` has no linear layer.
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
    """A copy with the same parameters, whose children can be replaced without changing `module`."""
    shallow = copy.copy(module)
    shallow._modules = dict(module._modules)
    return shallow


def _head(model: nn.Module) -> tuple[str, nn.Linear]:
    """Path and module of the last linear layer. Paths are fc, classifier.<last> or heads.head."""
    named = getattr(model, "pretrained_cfg", {}).get("classifier")  # timm says which one it is
    if isinstance(named, str) and isinstance(head := model.get_submodule(named), nn.Linear):
        return named, head
    linear = [(path, module) for path, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError("model.freeze: the network has no linear head")
    return linear[-1]


def _load_weights(model: nn.Module, found: dict[str, Tensor], head: str, spec: ModelSpec) -> None:
    own = model.state_dict()
    problems = [f"{n} has another shape" for n, value in found.items() if n in own and own[n].shape != value.shape]
    if not problems:
        # Not strict: old files have other parameter names, which layers translate while loading.
        missing, unknown = model.load_state_dict(found, strict=False)
        problems = [f"{n} is missing" for n in missing if not n.startswith(f"{head}.")]
        problems += [f"{n} is unknown" for n in unknown]
    if problems:
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise ValueError(f"model.weights: {spec.weights} is not of {spec.name}: {problems[0]}{more}")


def _imagenet_weights(name: str) -> dict[str, Tensor]:
    """torchvision's default weights, downloaded into torch.hub's folder unless they are there already."""
    import torchvision.models

    enum = torchvision.models.get_model_weights(name.removeprefix(IMAGENET))
    try:
        return dict(enum["DEFAULT"].get_state_dict(progress=False, check_hash=True, weights_only=True))
    except Exception as error:  # as above, or no network connection
        raise ValueError(
            f"model.weights: those of {name} could not be loaded: {type(error).__name__}: {error}"
        ) from error
