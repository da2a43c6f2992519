"""Optimizers by name, and their state as plain tensors for a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainer.engine.layer_rates import rate_shares
from trainer.engine.muon import Muon
from trainer.spec.optimizer_spec import OptimizerSpec

NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


class Optimizers:
    """The optimizers of a model: a single one, or Muon for the filters and an auxiliary one for the rest."""

    def __init__(self, spec: OptimizerSpec, model: nn.Module, device: torch.device) -> None:
        fused = device.type in ("cpu", "cuda")
        decayed, plain = by_decay(model, spec)
        shares = rate_shares(model, spec)
        if spec.name != "muon":
            groups = [(decayed, spec.weight_decay), (plain, 0.0)]
            self.all: list[Optimizer] = [_build(spec.name, spec, spec.lr, groups, fused, shares)]
            self._lr_ratios = [1.0]
        else:
            filter_ids = _filter_ids(model)
            filters = [parameter for parameter in decayed if id(parameter) in filter_ids]
            others = [parameter for parameter in decayed if id(parameter) not in filter_ids]
            if not filters:
                raise ValueError(
                    "optimizer.name: Muon trains filters and hidden matrices, and this model has none to train; choose "
                    "another optimizer"
                )
            self.all = [Muon(filters, lr=spec.lr, momentum=spec.momentum, stacked=device.type == "cuda")]
            self._lr_ratios = [1.0]
            if others or plain:
                groups = [(others, spec.weight_decay), (plain, 0.0)]
                self.all.append(_build(spec.rest, spec, spec.rest_lr, groups, fused))
                self._lr_ratios.append(spec.rest_lr / spec.lr)
        self._clip = spec.clip_norm
        self._unscaled = False
        self.parameters = [p for optimizer in self.all for group in optimizer.param_groups for p in group["params"]]

    def set_rate(self, rate: float) -> None:
        for optimizer, ratio in zip(self.all, self._lr_ratios, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * ratio * group.get("share", 1.0)

    def zero_grad(self) -> None:
        for optimizer in self.all:
            optimizer.zero_grad(set_to_none=True)

    def unscale(self, scaler: torch.amp.GradScaler) -> None:
        """Divide the gradients by the scale of the loss, unless that has been done for this step."""
        if not self._unscaled:
            for optimizer in filter(has_gradients, self.all):
                scaler.unscale_(optimizer)
            self._unscaled = True

    def step(self, scaler: torch.amp.GradScaler | None = None) -> None:
        """Clip the gradients and take a step. `scaler` unscales them first, and skips the step if one is not finite."""
        if scaler is not None:
            self.unscale(scaler)
        if self._clip:
            nn.utils.clip_grad_norm_(self.parameters, self._clip)
        for optimizer in filter(has_gradients, self.all):  # a scaler refuses one whose parameters are all frozen
            if scaler is not None:
                start_momentum(optimizer)
                scaler.step(optimizer)
            else:
                optimizer.step()
        if scaler is not None:
            scaler.update()
            self._unscaled = False

    def state_tensors(self) -> dict[str, Tensor]:
        """State by "<optimizer>.<parameter index>.<name>". Learning rates are not included: the schedule sets them."""
        return {
            f"{number}.{index}.{name}": value
            for number, optimizer in enumerate(self.all)
            for index, entry in optimizer.state_dict()["state"].items()
            for name, value in entry.items()
            if isinstance(value, Tensor)
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Load what `state_tensors` returned."""
        for number, optimizer in enumerate(self.all):
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                owner, index, name = key.split(".", 2)
                if int(owner) != number:
                    continue
                parameter = parameters[int(index)]
                if value.shape == parameter.shape:
                    # Fused kernels ignore strides: state needs its parameter's layout, contiguous or channels_last.
                    value = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
                state.setdefault(int(index), {})[name] = value
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def start_momentum(optimizer: Optimizer) -> None:
    """Give SGD's parameters a momentum of zeros where they have none.

    The fused SGD of torch 2.14 allocates it in the first step but does not write it if a scaler skips that step, as is
    common: the next step would add what was in that memory.
    """
    if not isinstance(optimizer, torch.optim.SGD):
        return
    for group in optimizer.param_groups:
        for parameter in group["params"] if group["momentum"] else ():
            if parameter.grad is not None and optimizer.state[parameter].get("momentum_buffer") is None:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter, requires_grad=False)


def has_gradients(optimizer: Optimizer) -> bool:
    return any(parameter.grad is not None for group in optimizer.param_groups for parameter in group["params"])


class UpdateRatio:
    """Measures a step's gradient norm and |update| / |weights|. `before` is called before the step, `after` after it.

    The weights before a step are kept in the same memory each time.
    """

    def __init__(self, optimizers: Optimizers) -> None:
        self._optimizers = optimizers
        self._trained: list[Tensor] = []
        self._old: list[Tensor] = []
        self._norms: tuple[Tensor, Tensor]

    def before(self, scaler: torch.amp.GradScaler | None = None) -> None:
        """Measure the norm of the gradients, unscaled and before clipping."""
        if scaler is not None:
            self._optimizers.unscale(scaler)
        trained = [parameter for parameter in self._optimizers.parameters if parameter.grad is not None]
        self._norms = _norm([parameter.grad for parameter in trained if parameter.grad is not None]), _norm(trained)
        if len(trained) != len(self._trained):  # a backbone is trained from an epoch on
            self._old = [torch.empty_like(parameter, requires_grad=False) for parameter in trained]
        self._trained = [parameter.detach() for parameter in trained]
        torch._foreach_copy_(self._old, self._trained)

    def after(self) -> Tensor:
        """Return the norm and the ratio, float32 (2,) on the device."""
        gradients, weights = self._norms
        torch._foreach_sub_(self._old, self._trained)
        return torch.stack([gradients, _norm(self._old) / weights])


@torch.no_grad()
def _norm(tensors: Sequence[Tensor]) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(tensors))))
    return norm


def by_decay(model: nn.Module, spec: OptimizerSpec) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the trained parameters with weight decay, and those without."""
    if spec.decay_norms:
        return [parameter for parameter in model.parameters() if parameter.requires_grad], []
    norms = {id(p) for module in model.modules() if isinstance(module, NORMS) for p in module.parameters()}
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            excluded = id(parameter) in norms or name.endswith("bias") or parameter.ndim < 2
            (plain if excluded else decayed).append(parameter)
    return decayed, plain


def _build(
    name: str,
    spec: OptimizerSpec,
    lr: float,
    groups: list[tuple[list[nn.Parameter], float]],
    fused: bool,
    shares: Mapping[int, float] = MappingProxyType({}),
) -> Optimizer:
    """`shares` are the shares of the learning rate by a parameter's id, where it is not 1."""
    given: list[dict[str, Any]] = []
    for parameters, decay in groups:
        by_share: dict[float, list[nn.Parameter]] = {}
        for parameter in parameters:
            by_share.setdefault(shares.get(id(parameter), 1.0), []).append(parameter)
        given += [{"params": some, "weight_decay": decay, "share": share} for share, some in by_share.items()]
    if name == "sgd":
        nesterov = spec.nesterov or (spec.name == "muon" and spec.momentum > 0)
        return torch.optim.SGD(given, lr=lr, momentum=spec.momentum, nesterov=nesterov, fused=fused)
    kind = torch.optim.Adam if name == "adam" else torch.optim.AdamW
    return kind(given, lr=lr, fused=fused)


def _filter_ids(model: nn.Module) -> set[int]:
    """Ids of the parameters that Muon trains: filters and hidden matrices, except the head (the last linear layer)."""
    heads = [module.weight for module in model.modules() if isinstance(module, nn.Linear)][-1:]
    return {id(p) for p in model.parameters() if p.ndim in (2, 4) and not any(p is head for head in heads)}
