"""`swift` computes the same in both of its forms: eager and compiled."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.models.device import can_compile, gains_by_compiling
from trainer.models.swift import make_swift
from trainer.spec.model_spec import ModelSpec
from trainer.spec.preset import build_spec

CPU = torch.device("cpu")


def gradients(model: nn.Module, forward: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor) -> Tensor:
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        loss = F.cross_entropy(forward(images).float(), labels)
    loss.backward()  # type: ignore[no-untyped-call]
    return torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])


@pytest.mark.skipif(not can_compile(CPU), reason="torch.compile needs a C++ compiler and Python's headers")
def test_compiled_with_bfloat16_its_gradients_are_finite() -> None:
    """With `amax` in the head every gradient of a compiled step was NaN."""
    torch.manual_seed(0)
    model = make_swift(ModelSpec(name="swift", widths=(8,)), 10, 16).to(memory_format=torch.channels_last)
    images, labels = torch.randn(16, 3, 16, 16).to(memory_format=torch.channels_last), torch.randint(10, (16,))
    eager = gradients(model, model, images, labels)
    compiled = gradients(model, torch.compile(model, dynamic=False), images, labels)
    assert torch.isfinite(compiled).all()
    assert torch.linalg.vector_norm(eager - compiled) < 0.3 * torch.linalg.vector_norm(eager)


def test_it_is_compiled_on_a_cpu_only_if_that_was_asked_for() -> None:
    assert [
        gains_by_compiling(build_spec("shapes100", "quick", {"compile": choice}), CPU) for choice in ("auto", "on")
    ] == [False, can_compile(CPU)]
