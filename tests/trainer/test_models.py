from __future__ import annotations

import pytest
import torch

from trainer.models import build_model, count_parameters
from trainer.spec import ModelSpec

# The origin's networks at 32 px and 100 classes, counted by hand from their layers.
CNN = (3 * 25 * 12 + 12 + 24) + (12 * 25 * 24 + 24 + 48) + (24 * 25 * 32 + 32 + 64)
CNN_HEAD = (1152 * 576 + 576) + (576 * 288 + 288) + (288 * 144 + 144) + (144 * 100 + 100)
MLP = (3072 * 1024 + 1024) + (1024 * 512 + 512) + (512 * 256 + 256) + (256 * 100 + 100)


@pytest.mark.parametrize(("name", "parameters"), [("cnn", CNN + CNN_HEAD), ("mlp", MLP)])
def test_the_baselines_have_the_origins_shape(name: str, parameters: int) -> None:
    model = build_model(ModelSpec.model_validate({"name": name}), 100, 32)
    assert count_parameters(model) == parameters
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 100)


def test_a_final_relu_cuts_off_negative_logits() -> None:
    torch.manual_seed(0)
    logits = build_model(ModelSpec(final_relu=True), 100, 32).eval()(torch.randn(4, 3, 32, 32))
    assert (logits >= 0).all()
    assert (logits == 0).any()


def test_images_too_small_for_the_network_are_refused() -> None:
    with pytest.raises(ValueError, match="larger images"):
        build_model(ModelSpec(), 10, 12)


def test_dropout_stands_before_each_hidden_linear_layer() -> None:
    model = build_model(ModelSpec(dropout=0.5), 100, 32)
    assert sum(isinstance(layer, torch.nn.Dropout) for layer in model.modules()) == 3
