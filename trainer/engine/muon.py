"""Muon: orthogonalized momentum steps, for convolution filters and hidden matrices.

Source: K. Jordan et al., "Muon" (2024), and the CIFAR speedruns that use it (KellerJordan/cifar10-airbench).
torch.optim.Muon takes 2-D parameters only; here filters are flattened to output channels × all other dimensions.
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
    """Keeps each filter bank at a fixed norm, so that `lr` is the relative size of a step.

    The norm is the square root of the number of output channels. Without a fixed norm a run lost 1.5 points of
    accuracy.
    """

    # A GradScaler then sets `found_inf`, float32 (): not 0 if a gradient is not finite and the step must be skipped.
    # Without this attribute it reads that number itself, and so waits for the device in each step.
    _step_supports_amp_scaling = True

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
        found_inf: Tensor | None = getattr(self, "found_inf", None)
        before = None if found_inf is None else (state["momentum"].clone(), parameter.clone())
        state["momentum"].mul_(momentum).add_(gradient)
        update = gradient.add(state["momentum"], alpha=momentum)  # Nesterov
        parameter.mul_(len(parameter) ** 0.5 / parameter.norm().clamp_(min=1e-7))
        parameter.add_(orthogonal(update.flatten(1)).view_as(parameter), alpha=-lr)
        if found_inf is not None and before is not None:
            for value, old in zip((state["momentum"], parameter), before, strict=True):
                value.copy_(torch.where(found_inf > 0, old, value))


def orthogonal(matrix: Tensor) -> Tensor:
    """Approximate the nearest semi-orthogonal matrix by a quintic Newton–Schulz iteration in bfloat16.

    The result has the dtype of `matrix`.
    """
    a, b, c = COEFFICIENTS
    x = matrix.bfloat16()
    x = x / x.norm().clamp_(min=1e-7)
    wide = x if len(x) <= x.shape[1] else x.T
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = wide @ wide.T
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    result: Tensor = (wide if len(x) <= x.shape[1] else wide.T).to(matrix.dtype)
    return result
