"""What a network takes, found from its shapes alone."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.models.build import build_model
from trainer.spec.train_spec import ModelSpec


def saved_bytes(spec: ModelSpec, classes: int, size: int) -> int:
    """Bytes that one image's forward pass keeps for the backward pass, in float32. Nothing is allocated."""
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter) and tensor.ndim > 1:
            seen[id(tensor.untyped_storage())] = tensor.untyped_storage().nbytes()
            kept.append(tensor)
        return tensor

    kept: list[Tensor] = []  # so that no id is given out twice
    with torch.device("meta"):
        model = build_model(spec, classes, size).train()
        weights = {id(weight.untyped_storage()) for weight in model.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(torch.zeros(2, 3, size, size))
    return sum(octets for storage, octets in seen.items() if storage not in weights) // 2
