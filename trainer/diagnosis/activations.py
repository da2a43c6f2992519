"""Detection of dead ReLU units: units that no image activates."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from trainer.engine.portions import Portions


@torch.inference_mode()
def dead_units(model: nn.Module, images: Tensor, autocast: torch.autocast, portions: Portions) -> dict[str, float]:
    """Return the fraction of dead channels or units per ReLU module, by module name; {} if there are no ReLU modules.

    A channel or unit is dead if its output is 0 everywhere for all of `images`. ReLU modules (nn.ReLU, nn.ReLU6) are
    covered, calls of F.relu are not. Leaves `model` in eval mode. Waits for the device.
    """
    alive: dict[str, Tensor] = {}
    relus = {name: module for name, module in model.named_modules() if isinstance(module, nn.ReLU | nn.ReLU6)}
    if not relus:
        return {}

    def hook_for(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def record(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            active = (output > 0).transpose(0, 1).flatten(1).any(1)
            # A module may be called several times: in a residual block, and for each portion of the images.
            alive[name] = active if name not in alive or alive[name].shape != active.shape else alive[name] | active

        return record

    hooks = [module.register_forward_hook(hook_for(name)) for name, module in relus.items()]
    try:
        model.eval()
        with autocast:
            portions.each(len(images), lambda part: model(images[part]))
    finally:
        for hook in hooks:
            hook.remove()
    return {name: 1 - active.float().mean().item() for name, active in alive.items()}


def layer_name(model: nn.Module, name: str) -> str:
    """Return a module's name and kind, such as "features.4 (ReLU)"."""
    return f"{name or 'the network'} ({type(model.get_submodule(name)).__name__})"
