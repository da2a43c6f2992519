"""The memory that a network takes, computed from its shapes."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.models.build import build_model
from trainer.spec.model_spec import ModelSpec


def saved_bytes(spec: ModelSpec, classes: int, size: int) -> int:
    """Bytes of float32 that one image's forward pass saves for the backward pass. Runs on the meta device."""
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter) and tensor.ndim > 1:
            seen[id(tensor.untyped_storage())] = tensor.untyped_storage().nbytes()
            kept.append(tensor)
        return tensor

    kept: list[Tensor] = []  # keeps the tensors alive, so that no id is used twice
    with torch.device("meta"):
        model = build_model(spec, classes, size).train()
        weights = {id(weight.untyped_storage()) for weight in model.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(torch.zeros(2, 3, size, size))
    return sum(nbytes for storage, nbytes in seen.items() if storage not in weights) // 2
