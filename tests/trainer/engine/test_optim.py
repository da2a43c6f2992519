"""Optimizers, and what is measured of a step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from trainer.engine.muon import Muon
from trainer.engine.optim import Optimizers, UpdateRatio
from trainer.spec.optimizer_spec import OptimizerSpec


def gradient_norm(scaler: torch.amp.GradScaler | None) -> tuple[float, torch.Tensor]:
    """The measured norm of one step's gradients, and the weights after the step."""
    torch.manual_seed(0)
    model = nn.Linear(8, 4)
    optimizers = Optimizers(OptimizerSpec(name="sgd", lr=0.1, clip_norm=1.0), model, torch.device("cpu"))
    loss = model(torch.randn(16, 8)).square().mean()
    (loss if scaler is None else scaler.scale(loss)).backward()
    ratio = UpdateRatio(optimizers)
    ratio.before(scaler)
    optimizers.step(scaler)
    return ratio.after()[0].item(), model.weight.detach().clone()


def test_the_gradient_norm_does_not_depend_on_the_scale_of_the_loss() -> None:
    plain, weights = gradient_norm(None)
    scaler = torch.amp.GradScaler("cpu", init_scale=65536.0)
    scaled, same_weights = gradient_norm(scaler)
    assert scaled == pytest.approx(plain, rel=1e-5)
    assert torch.allclose(weights, same_weights)
    assert gradient_norm(scaler)[0] == pytest.approx(plain, rel=1e-5)


def test_the_update_is_measured_relative_to_the_weights_step_after_step() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2))
    optimizers = Optimizers(OptimizerSpec(name="sgd", lr=0.1), model, torch.device("cpu"))
    ratio = UpdateRatio(optimizers)
    for _ in range(2):
        optimizers.zero_grad()
        model(torch.randn(16, 8)).square().mean().backward()
        before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
        ratio.before()
        optimizers.step()
        update = nn.utils.parameters_to_vector(model.parameters()).detach() - before
        assert ratio.after()[1].item() == pytest.approx((update.norm() / before.norm()).item(), rel=1e-5)


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


@pytest.mark.parametrize("scaled", [False, True])
def test_muon_updates_matrices_of_one_shape_together_as_it_does_alone(scaled: bool) -> None:
    shapes = [(8, 4, 3, 3), (4, 12), (8, 4, 3, 3), (40, 4), (8, 4, 3, 3), (40, 4)]

    def trained(*, stacked: bool) -> list[nn.Parameter]:
        torch.manual_seed(0)
        parameters = [nn.Parameter(torch.randn(shape)) for shape in shapes]
        optimizer = Muon(parameters, lr=0.1, momentum=0.6, stacked=stacked)
        for step in range(4):
            for parameter in parameters:
                parameter.grad = torch.randn(parameter.shape)
            parameters[1].grad = None if step == 1 else parameters[1].grad
            if scaled:
                optimizer.found_inf = torch.tensor(float(step == 2))  # type: ignore[attr-defined]
            optimizer.step()
        return parameters

    for alone, together in zip(trained(stacked=False), trained(stacked=True), strict=True):
        assert torch.allclose(alone, together, atol=2e-3)


class Reads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the numbers that are read from tensors: on a GPU each read waits for the device."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def muon_of(model: nn.Module) -> tuple[Optimizers, torch.amp.GradScaler]:
    spec = OptimizerSpec(name="muon", lr=0.1, rest_lr=0.1)
    return Optimizers(spec, model, torch.device("cpu")), torch.amp.GradScaler("cpu", init_scale=1024.0)


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))


def test_muon_with_a_scaler_steps_as_without_one_and_does_not_wait() -> None:
    plain, scaled = small_network(), small_network()
    images = torch.randn(8, 3, 4, 4)
    for model, is_scaled in ((plain, False), (scaled, True)):
        optimizers, scaler = muon_of(model)
        loss = model(images).square().mean()
        (scaler.scale(loss) if is_scaled else loss).backward()
        with Reads() as reads:  # type: ignore[no-untyped-call]
            optimizers.step(scaler if is_scaled else None)
        assert reads.count == 0
    for one, other in zip(plain.parameters(), scaled.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-3)


def test_muon_skips_a_step_whose_gradients_overflow() -> None:
    model = small_network()
    optimizers, scaler = muon_of(model)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    scaler.scale(model(torch.full((8, 3, 4, 4), 1e30)).square().mean()).backward()
    optimizers.step(scaler)
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    assert all(torch.isfinite(value).all() for value in optimizers.state_tensors().values())
    assert scaler.get_scale() < 1024


def test_a_scaler_passes_by_an_optimizer_whose_parameters_are_frozen() -> None:
    """As in the epochs before the backbone is trained: Muon then has nothing to do."""
    model = small_network()
    optimizers, scaler = muon_of(model)
    model[0].requires_grad_(False)
    weight = next(model[2].parameters())
    before = weight.detach().clone()
    scaler.scale(model(torch.randn(8, 3, 4, 4)).square().mean()).backward()
    optimizers.step(scaler)
    assert not torch.equal(weight, before)
