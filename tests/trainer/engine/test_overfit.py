"""Every network family, in a narrow variant, overfits one batch of real images; a network that cannot is broken."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.data.format import open_split
from trainer.engine.optim import Optimizers
from trainer.models.build import build_model
from trainer.spec.catalog import IMAGENET
from trainer.spec.model_spec import ModelSpec
from trainer.spec.optimizer_spec import OptimizerSpec

# Not 4 channels before 8: the backward pass of such a convolution in channels_last crashes torch 2.14 on CPUs with AVX2
# alone.
FAMILIES: dict[str, tuple[int, ...]] = {
    "mlp": (64, 32),
    "cnn": (8, 8, 16),
    "swift": (8, 16, 64),
    "resnet9": (8, 8, 16, 64),
    "resnet18": (8, 8, 16, 64),
    "resnet34": (8, 8, 16, 64),
    "resnet50": (2, 4, 8, 16),
    "wrn-16-4": (8, 8, 64),
    "wrn-28-10": (8, 8, 64),
    "torchvision:resnet18": (),
    "torchvision:mobilenet_v3_large": (),
}
OPTIMIZERS: dict[str, OptimizerSpec] = {
    "adam": OptimizerSpec(name="adam", lr=1e-2),
    "adamw": OptimizerSpec(name="adamw", lr=1e-2, weight_decay=0.01),
    "sgd": OptimizerSpec(name="sgd", lr=0.1, momentum=0.9, nesterov=True),
    "muon and sgd": OptimizerSpec(name="muon", lr=0.02, momentum=0.8, rest_lr=0.1),
    "muon and adamw": OptimizerSpec(name="muon", lr=0.02, momentum=0.8, rest="adamw", rest_lr=3e-3),
}
IMAGES, STEPS, MAX_LOSS = 32, 200, 1e-2


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def batch(shapes: Path) -> tuple[Tensor, Tensor]:
    """Images (float, IMAGES×3×32×32) of different classes, and their labels."""
    images, labels = open_split(shapes, "shapes100", "train")
    rows = torch.arange(IMAGES) * (len(labels) // IMAGES)
    pixels = torch.from_numpy(images[rows.numpy()]).permute(0, 3, 1, 2).float() / 64 - 2
    return pixels.contiguous(memory_format=torch.channels_last), torch.from_numpy(labels[rows.numpy()]).long()


def overfit(model: nn.Module, optimizer: OptimizerSpec, batch: tuple[Tensor, Tensor]) -> float:
    """Train for up to STEPS steps and return the lowest loss."""
    images, labels = batch
    optimizers = Optimizers(optimizer, model, torch.device("cpu"))
    lowest = float("inf")
    for _ in range(STEPS):
        loss = F.cross_entropy(model(images), labels)
        lowest = min(lowest, loss.item())
        if lowest < MAX_LOSS:
            break
        optimizers.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizers.step()
    return lowest


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_learns_a_batch_by_heart(batch: tuple[Tensor, Tensor], name: str) -> None:
    torch.manual_seed(0)
    model = build_model(ModelSpec(name=name, widths=FAMILIES[name]), 100, 32)
    model.to(memory_format=torch.channels_last)
    rate = 3e-3 if name.startswith(IMAGENET) else 1e-2  # these have no narrow variant
    assert overfit(model, OptimizerSpec(name="adam", lr=rate), batch) < MAX_LOSS


@pytest.mark.parametrize("family", ["swift", "resnet18"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimiser_learns_a_batch_by_heart(batch: tuple[Tensor, Tensor], optimizer: str, family: str) -> None:
    torch.manual_seed(0)
    model = build_model(ModelSpec(name=family, widths=FAMILIES[family]), 100, 32)
    model.to(memory_format=torch.channels_last)
    assert overfit(model, OPTIMIZERS[optimizer], batch) < MAX_LOSS
