"""Build the networks by name. Each takes normalized float images N×3×H×W and returns logits N×C."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from trainer.models.cnn import make_cnn
from trainer.models.custom import make_custom
from trainer.models.mlp import make_mlp
from trainer.models.pretrained import make_pretrained
from trainer.models.resnet import make_resnet, make_resnet9
from trainer.models.swift import make_swift
from trainer.models.timm_models import make_timm
from trainer.models.wide_resnet import make_wide_resnet
from trainer.spec.catalog import IMAGENET, MODELS, is_custom
from trainer.spec.model_spec import ModelSpec
from trainer.spec.timm_models import is_timm

BUILDERS: dict[str, Callable[[ModelSpec, int, int], nn.Module]] = {
    "mlp": make_mlp,
    "cnn": make_cnn,
    "swift": make_swift,
    "resnet9": make_resnet9,
    "resnet18": make_resnet,
    "resnet34": make_resnet,
    "resnet50": make_resnet,
    "wrn-16-4": make_wide_resnet,
    "wrn-28-10": make_wide_resnet,
}


def build_model(spec: ModelSpec, num_classes: int, image_size: int, *, pretrained: bool = False) -> nn.Module:
    """Return the network of `spec`, initialized from torch's global generator, or with its `weights` if `pretrained`.

    Raises ValueError: the image size does not fit, the network does not have an option that is set, the weights cannot
    be loaded or do not fit, or a custom function fails or does not return a torch.nn.Module.
    """
    _reject_unused_options(spec)
    if is_timm(spec.name):
        return make_timm(spec, num_classes, image_size, pretrained=pretrained)
    if is_custom(spec.name):
        return make_custom(spec.name, num_classes, image_size)
    smallest = MODELS[spec.name].smallest
    if image_size < smallest:
        raise ValueError(f"model.name: {spec.name} needs images of at least {smallest} px, not {image_size}")
    if spec.name.startswith(IMAGENET):
        return make_pretrained(spec, num_classes, image_size, pretrained=pretrained)
    return BUILDERS[spec.name](spec, num_classes, image_size)


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def count_flops(model: nn.Module, image_size: int) -> int:
    """FLOPs of one image's forward pass in evaluation mode. A multiply-accumulate counts as two."""
    modes = [(module, module.training) for module in model.modules()]
    first = next(model.parameters(), torch.zeros(()))
    image = torch.zeros(1, 3, image_size, image_size, device=first.device, dtype=first.dtype)
    # FlopCounterMode fails where a parameter that wants a gradient enters a layer as its input.
    frozen = {name: value.detach() for name, value in chain(model.named_parameters(), model.named_buffers())}
    # FlopCounterMode counts matrix products, but not the fused attention that evaluation mode uses.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            functional_call(model.eval(), frozen, (image,))
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for module, training in modes:
            module.training = training
    return int(counter.get_total_flops())


def _reject_unused_options(spec: ModelSpec) -> None:
    if spec.final_relu and spec.name not in ("mlp", "cnn"):
        raise ValueError(f"model.final_relu: {spec.name} has none; mlp and cnn do")
    if spec.name in BUILDERS:
        return
    if spec.widths:
        raise ValueError(f"model.widths: {spec.name} has no widths to choose")
    if spec.dropout and not is_timm(spec.name):
        raise ValueError(f"model.dropout: {spec.name} has no dropout to choose")
