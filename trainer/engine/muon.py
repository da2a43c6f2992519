"""Muon: orthogonalized momentum steps, for convolution filters and hidden matrices.

Source: K. Jordan et al., "Muon" (2024), and the CIFAR speedruns that use it (KellerJordan/cifar10-airbench).
torch.optim.Muon takes 2-D parameters only; here filters are flattened to output channels × all other dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import overload

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 3


class Muon(Optimizer):
    """Keeps each filter bank at a fixed norm, so that `lr` is the relative size of a step.

    The norm is the square root of the number of output channels. Without a fixed norm a run lost 1.5 points of
    accuracy.

    `stacked` updates parameters of the same shape together: a GPU has a fraction of the kernels to start, and the
    results differ by rounding alone.
    """

    # A GradScaler then sets `found_inf`, float32 (): not 0 if a gradient is not finite and the step must be skipped.
    # Without this attribute it reads that number itself, and so waits for the device in each step.
    _step_supports_amp_scaling = True

    def __init__(self, parameters: list[nn.Parameter], lr: float, momentum: float, *, stacked: bool = False) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})
        self._stacked = stacked

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        loss = None if closure is None else closure()
        for group in self.param_groups:
            trained = [parameter for parameter in group["params"] if parameter.grad is not None]
            for parameters in by_shape(trained) if self._stacked else [[parameter] for parameter in trained]:
                self._update(parameters, group["lr"], group["momentum"])
        return loss

    def _update(self, parameters: list[nn.Parameter], lr: float, momentum: float) -> None:
        """Update parameters of one shape."""
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        weights: list[Tensor] = [*parameters]
        momenta: list[Tensor] = [self.state[parameter]["momentum"] for parameter in parameters]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        found_inf: Tensor | None = getattr(self, "found_inf", None)
        before = None if found_inf is None else [value.clone() for value in (*momenta, *weights)]
        torch._foreach_mul_(momenta, momentum)
        torch._foreach_add_(momenta, gradients)
        updates = torch._foreach_add(gradients, momenta, alpha=momentum)  # Nesterov
        norms = torch.stack(torch._foreach_norm(weights)).clamp_(min=1e-7)
        torch._foreach_mul_(weights, (len(weights[0]) ** 0.5 / norms).unbind())
        steps = orthogonal(torch.stack([update.flatten(1) for update in updates]))
        torch._foreach_add_(weights, [step.view_as(weights[0]) for step in steps.unbind()], alpha=-lr)
        if found_inf is not None and before is not None:
            for value, old in zip((*momenta, *weights), before, strict=True):
                value.copy_(torch.where(found_inf > 0, old, value))


def by_shape(parameters: Iterable[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Return the parameters in lists of one shape each, in the order of their first one."""
    found: dict[torch.Size, list[nn.Parameter]] = {}
    for parameter in parameters:
        found.setdefault(parameter.shape, []).append(parameter)
    return list(found.values())


def orthogonal(matrices: Tensor) -> Tensor:
    """Approximate the nearest semi-orthogonal matrices by a quintic Newton–Schulz iteration in bfloat16.

    `matrices` has the shape (matrices, rows, columns). The result has its shape and dtype.
    """
    a, b, c = COEFFICIENTS
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.bfloat16()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_(min=1e-7)
    wide = x.mT if is_tall else x
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = wide @ wide.mT
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    result: Tensor = (wide.mT if is_tall else wide).to(matrices.dtype)
    return result
