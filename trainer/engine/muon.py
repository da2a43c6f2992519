"""Muon: momentum steps made orthogonal, for filters and hidden matrices.

Source: K. Jordan et al., "Muon" (2024), and the CIFAR speedruns that came of it (KellerJordan/cifar10-airbench).
torch.optim.Muon takes 2-D parameters only; here filters are flattened to outputs × rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 3


class Muon(Optimizer):
    """Keeps each filter bank at a fixed norm, the root of its outputs, so that `lr` is the relative size of a step."""

    def __init__(self, parameters: list[nn.Parameter], lr: float, momentum: float) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group["lr"], group["momentum"])
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, lr: float, momentum: float) -> None:
        state: dict[str, Any] = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].mul_(momentum).add_(gradient)
        ahead = gradient.add(state["momentum"], alpha=momentum)  # Nesterov
        parameter.mul_(len(parameter) ** 0.5 / parameter.norm().clamp_(min=1e-7))
        parameter.add_(orthogonal(ahead.flatten(1)).view_as(parameter), alpha=-lr)


def orthogonal(matrix: Tensor) -> Tensor:
    """About the nearest semi-orthogonal matrix, by a quintic Newton–Schulz iteration in bfloat16, as float32."""
    a, b, c = COEFFICIENTS
    x = matrix.bfloat16()
    x = x / x.norm().clamp_(min=1e-7)
    wide = x if len(x) <= x.shape[1] else x.T
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = wide @ wide.T
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    result: Tensor = (wide if len(x) <= x.shape[1] else wide.T).to(matrix.dtype)
    return result
