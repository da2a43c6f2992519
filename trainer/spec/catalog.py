"""The networks by name, as offered by the launch form. Free of torch; `trainer.models` builds them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from trainer.spec.timm_models import Interpolation, Triple, is_timm, timm_model, timm_weights

IMAGENET = "torchvision:"
IMAGENET_PIXELS: tuple[Triple, Triple, Interpolation] = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear"
_CUSTOM = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Architecture:
    """`smallest`: minimum image side in pixels. `fixed`: the network takes images of one size only. `stages`: number of
    widths, None for any. `compiles_on_cpu`: a long run on a CPU tries torch.compile."""

    name: str
    description: str
    smallest: int = 8
    fixed: bool = False
    stages: int | None = None
    compiles_on_cpu: bool = False


_OWN = (
    Architecture("mlp", "Three hidden layers with LeakyReLU, as in agastyapatri/CIFAR-100.", 1, fixed=True),
    Architecture(
        "cnn",
        "Three 5×5 convolutions and four linear layers, as in agastyapatri/CIFAR-100.",
        15,
        fixed=True,
        compiles_on_cpu=True,
    ),
    Architecture(
        "swift", "A whitening stem and three residual groups: most accuracy a minute, also on a CPU.", 9, stages=3
    ),
    Architecture("resnet9", "Eight convolutions and a linear layer, as in DAWNBench's fast entries.", 16, stages=4),
    Architecture("resnet18", "ResNet-18 with a 3×3 stem for small images: the standard strong network.", stages=4),
    Architecture("resnet34", "ResNet-34 with a 3×3 stem for small images.", stages=4),
    Architecture("resnet50", "ResNet-50 with a 3×3 stem for small images.", stages=4),
    Architecture("wrn-16-4", "Wide ResNet, 16 layers, 4 times as wide: strong for its size.", stages=3),
    Architecture("wrn-28-10", "Wide ResNet, 28 layers, 10 times as wide: the strongest, for a GPU.", stages=3),
)
_PRETRAINED = (
    Architecture("torchvision:resnet18", "ResNet-18 as for ImageNet: transfer from its weights.", 32, stages=0),
    Architecture("torchvision:resnet50", "ResNet-50 as for ImageNet: transfer from its weights.", 32, stages=0),
    Architecture("torchvision:efficientnet_v2_s", "EfficientNetV2-S: the best transfer for its cost.", 32, stages=0),
    Architecture("torchvision:convnext_tiny", "ConvNeXt-Tiny: strong transfer.", 32, stages=0),
    Architecture("torchvision:mobilenet_v3_large", "MobileNetV3-Large: light transfer, also on a CPU.", 32, stages=0),
    Architecture(
        "torchvision:vit_b_16", "Vision transformer B/16; needs model.input_size = 224.", 224, fixed=True, stages=0
    ),
)
MODELS = {model.name: model for model in (*_OWN, *_PRETRAINED)}


def is_custom(name: str) -> bool:
    """Whether `name` is a user's own network, written `package.module:function`."""
    return _CUSTOM.fullmatch(name) is not None and not name.startswith(IMAGENET) and not is_timm(name)


def architecture(name: str) -> Architecture | None:
    """What is known of a network; None for a user's own. Raises ValueError: there is no such network."""
    if is_timm(name):
        found = timm_model(name)
        return Architecture(name, "A network of timm.", found.smallest, fixed=found.fixed, stages=0)
    if name not in MODELS and not is_custom(name):
        raise ValueError(f"unknown model; there are {', '.join(MODELS)}, and timm:NAME for those of timm")
    return MODELS.get(name)


def takes_weights(name: str) -> bool:
    """Whether there are published weights for networks of this kind."""
    return name.startswith(IMAGENET) or is_timm(name)


def pixels_of_weights(name: str) -> tuple[Triple, Triple, Interpolation] | None:
    """Mean and deviation of each channel (from 0 to 1) and the resizing that a network's published weights were
    trained with; None if there are none."""
    if name.startswith(IMAGENET):
        return IMAGENET_PIXELS
    weights = timm_weights(name) if is_timm(name) else None
    return None if weights is None else (weights.mean, weights.std, weights.interpolation)
