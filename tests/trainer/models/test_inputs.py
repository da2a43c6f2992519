"""What enters the networks: normalized images."""

from __future__ import annotations

import pytest
import torch

from trainer.models.inputs import Constants, Inputs, network_input


@pytest.mark.parametrize("size", [32, 24])
def test_the_batches_of_a_run_are_normalized_as_all_images_are(size: int) -> None:
    images = torch.randint(256, (5, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    constants = Constants(torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.25, 0.3]))
    expected, found = network_input(images, constants, size), Inputs(constants, 32)(images, size)
    assert torch.equal(found, expected)
    assert found.stride() == expected.stride()
    means = ((images.permute(0, 3, 1, 2) / 255 - constants[0][:, None, None]) / constants[1][:, None, None]).mean()
    assert found.mean() == pytest.approx(means.item(), abs=1e-2)


def test_cached_features_enter_as_they_are() -> None:
    features = torch.randn(5, 7)
    assert Inputs(Constants(torch.ones(3), torch.ones(3)), 32)(features, 32) is features
