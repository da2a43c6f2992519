"""Detection of dead ReLU units: units that no image activates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from trainer.diagnosis.findings import Finding, value
from trainer.engine.context import Context
from trainer.engine.portions import Portions
from trainer.models.inputs import network_input

PROBED = 2000  # images that dead units are measured on


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


def dead_at_first(context: Context, model: nn.Module) -> Finding | None:
    """Return a problem if a ReLU layer of the untrained network is dead, by the threshold of the spec."""
    dead = worst_dead_layer(context, model, context.spec.thresholds.dead_units)
    if dead is None:
        return None
    message = f"{dead.message} This is so before the first step: the initialization is wrong."
    return replace(dead, level="fail", message=message)


def worst_dead_layer(context: Context, model: nn.Module, limit: float) -> Finding | None:
    """Return a symptom if more than `limit` of the units of a ReLU layer never activate."""
    images = held_out_images(context)
    if images is None:
        return None
    layers = dead_units(model, images, context.autocast, context.portions)
    worst = max(layers, key=layers.__getitem__, default=None)
    if worst is None or layers[worst] <= limit:
        return None
    message = (
        f"{100 * layers[worst]:.3g}% of the units of {layer_name(model, worst)} never activate on {len(images):,} "
        f"images (threshold {100 * limit:g}%)."
    )
    evidence = value("units that never activate", 100 * layers[worst], 100 * limit, "%")
    evidence |= {"bars": [*layers.values()], "layers": [layer_name(model, name) for name in layers]}
    return Finding("dead_units", "info", message, evidence)


def held_out_images(context: Context) -> Tensor | None:
    """PROBED validation images, evenly from all classes; training images if there are too few. None of features."""
    data = context.data
    split, rows = (data.val, data.val_rows) if len(data.val_rows) >= PROBED else (data.train, data.train_rows)
    if split.images.dtype != torch.uint8:
        return None
    by_class = rows[torch.argsort(split.labels[rows], stable=True)]
    chosen = by_class[torch.arange(min(PROBED, len(rows)), device=rows.device) * len(rows) // min(PROBED, len(rows))]
    raw = split.images[chosen.to(split.images.device)].to(context.device)
    return network_input(raw, context.constants, context.full_size)
