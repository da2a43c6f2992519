"""Optimizers, and what is measured of a step."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainer.engine.optim import Optimizers, update_ratio
from trainer.spec.train_spec import OptimizerSpec


def gradient_norm(scaler: torch.amp.GradScaler | None) -> tuple[float, torch.Tensor]:
    """The measured norm of one step's gradients, and the weights after the step."""
    torch.manual_seed(0)
    model = nn.Linear(8, 4)
    optimizers = Optimizers(OptimizerSpec(name="sgd", lr=0.1, clip_norm=1.0), model, torch.device("cpu"))
    loss = model(torch.randn(16, 8)).square().mean()
    (loss if scaler is None else scaler.scale(loss)).backward()
    measured = update_ratio(optimizers, scaler)
    optimizers.step(scaler)
    return measured()["grad/norm"], model.weight.detach().clone()


def test_the_gradient_norm_does_not_depend_on_the_scale_of_the_loss() -> None:
    plain, weights = gradient_norm(None)
    scaler = torch.amp.GradScaler("cpu", init_scale=65536.0)
    scaled, same_weights = gradient_norm(scaler)
    assert scaled == pytest.approx(plain, rel=1e-5)
    assert torch.allclose(weights, same_weights)
    assert gradient_norm(scaler)[0] == pytest.approx(plain, rel=1e-5)


def test_muon_names_the_field_where_it_has_nothing_to_train() -> None:
    with pytest.raises(ValueError, match=r"optimizer\.name: Muon"):
        Optimizers(OptimizerSpec(name="muon"), nn.Sequential(nn.Flatten(), nn.Linear(8, 4)), torch.device("cpu"))


def test_muon_alone_trains_a_model_of_filters() -> None:
    model = nn.Conv2d(3, 4, 3, bias=False)
    optimizers = Optimizers(OptimizerSpec(name="muon"), model, torch.device("cpu"))
    before = model.weight.detach().clone()
    model(torch.ones(1, 3, 8, 8)).square().mean().backward()
    optimizers.set_rate(0.1)
    optimizers.step()
    assert not torch.equal(model.weight, before)
