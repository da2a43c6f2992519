"""The share of the learning rate that each parameter trains with: the head's own rate, and layer-wise decay."""

from __future__ import annotations

from torch import nn

from trainer.spec.optimizer_spec import OptimizerSpec


def rate_shares(model: nn.Module, spec: OptimizerSpec) -> dict[int, float]:
    """Share of the learning rate by the id of each parameter that does not train with the whole rate.

    Layer-wise decay (Bao et al., "BEiT", 2021) multiplies the rate once more with each layer below the head.
    """
    shares: dict[int, float] = {}
    if spec.layer_decay < 1:
        from timm.models import group_parameters

        matcher = model.group_matcher(coarse=False) if hasattr(model, "group_matcher") else None  # type: ignore[operator]
        if matcher is not None:  # else the head alone is trained
            layers: dict[str, int] = group_parameters(model, matcher, reverse=True)
            last = max(layers.values())
            for name, parameter in model.named_parameters():
                shares[id(parameter)] = spec.layer_decay ** (last - layers[name])
    heads = [module for module in model.modules() if isinstance(module, nn.Linear)][-1:]
    if spec.head_lr:
        shares |= {id(parameter): spec.head_lr / spec.lr for head in heads for parameter in head.parameters()}
    return {number: share for number, share in shares.items() if share != 1}
