"""The registry of networks. All take normalised float images N×3×H×W and give logits N×C."""

from __future__ import annotations

from torch import nn

from trainer.models.cnn import make_cnn
from trainer.models.mlp import make_mlp
from trainer.models.swift import make_swift
from trainer.spec import ModelSpec

MODELS = {"mlp": make_mlp, "cnn": make_cnn, "swift": make_swift}


def build_model(spec: ModelSpec, num_classes: int, image_size: int, *, pretrained: bool = False) -> nn.Module:
    """The network of `spec`, with fresh weights from torch's global generator. Raises ValueError on a wrong size."""
    return MODELS[spec.name](spec, num_classes, image_size)


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
