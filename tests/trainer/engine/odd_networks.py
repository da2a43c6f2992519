"""Users' networks that train in eager mode and fail in one way or another when they are compiled."""

from __future__ import annotations

import os
import signal
import weakref
from typing import Any

import torch
from torch import Tensor, nn


class _FailsBackward(torch.autograd.Function):
    """The identity; its backward pass raises if `fails`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, fails: bool) -> Tensor:
        ctx.fails = fails
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        if ctx.fails:
            raise RuntimeError("the backward pass does not compile")
        return gradient, None


def _act(x: Tensor, kind: str, compiling: bool) -> Tensor:
    """Called between the compiled parts of a network, since it is not compiled itself."""
    match kind:
        case "backward":
            result: Tensor = _FailsBackward.apply(x, compiling)
            return result
        case "forward" if compiling:
            raise RuntimeError("the forward pass does not compile")
        case "ended" if compiling:
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("the signal was not heard while the network was compiled")
    return x


_act_apart = torch.compiler.disable(_act)  # type: ignore[no-untyped-call]


class Odd(nn.Module):
    def __init__(self, num_classes: int, image_size: int, kind: str) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Dropout(0.1), nn.Linear(3 * image_size**2, num_classes))
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        compiling = torch.compiler.is_compiling()
        logits: Tensor = self.layers(x)
        if self.kind == "broken":
            raise RuntimeError("the network is broken")
        if self.kind == "nan":
            return logits * float("nan") if compiling else logits
        return _act_apart(logits, self.kind, compiling)  # type: ignore[no-any-return]


def nan(num_classes: int, image_size: int) -> nn.Module:
    return Odd(num_classes, image_size, "nan")


def backward(num_classes: int, image_size: int) -> nn.Module:
    return Odd(num_classes, image_size, "backward")


def forward(num_classes: int, image_size: int) -> nn.Module:
    return Odd(num_classes, image_size, "forward")


def ended(num_classes: int, image_size: int) -> nn.Module:
    return Odd(num_classes, image_size, "ended")


alive: list[weakref.ref[nn.Module]] = []


def watched(num_classes: int, image_size: int) -> nn.Module:
    """A network that tells whether it still exists."""
    return _watched(Odd(num_classes, image_size, "watched"))


def broken(num_classes: int, image_size: int) -> nn.Module:
    """Another, which cannot be trained."""
    return _watched(Odd(num_classes, image_size, "broken"))


def _watched(model: nn.Module) -> nn.Module:
    alive.append(weakref.ref(model))
    return model
