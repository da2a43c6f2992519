"""ReLU units that no image makes answer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


@torch.inference_mode()
def dead_units(model: nn.Module, images: Tensor, autocast: torch.autocast) -> dict[str, float]:
    """The share of each ReLU module's channels or units that are 0 for all of `images`; {} where there are no ReLUs.

    Modules are seen, calls of F.relu are not. Waits for the device.
    """
    alive: dict[str, Tensor] = {}
    watched = {name: module for name, module in model.named_modules() if isinstance(module, nn.ReLU | nn.ReLU6)}
    if not watched:
        return {}

    def looking(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def look(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            active = (output > 0).transpose(0, 1).flatten(1).any(1)
            # One module may be called several times, as in a residual block.
            alive[name] = active if name not in alive or alive[name].shape != active.shape else alive[name] | active

        return look

    hooks = [module.register_forward_hook(looking(name)) for name, module in watched.items()]
    try:
        model.eval()
        with autocast:
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: 1 - active.float().mean().item() for name, active in alive.items()}
