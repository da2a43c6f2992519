"""Evaluation takes as many images at once as fit, and fewer where they did not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainer.engine.portions import Portions, images_at_once
from trainer.exported.labels import Labels
from trainer.inference.classifier import BATCH, Classifier
from trainer.models.device import memory_of
from trainer.models.inputs import Constants

GIB = 1 << 30


@pytest.mark.parametrize(
    ("kind", "memory", "size", "images"),
    [
        ("cpu", 64 * GIB, 32, 250),
        ("cpu", 64 * GIB, 224, 5),
        ("cpu", 1 * GIB, 224, 1),
        ("cuda", 80 * GIB, 32, 2000),
        ("cuda", 80 * GIB, 224, 40),
        ("cuda", 8 * GIB, 224, 10),
    ],
)
def test_the_images_at_once_follow_from_pixels_and_memory(kind: str, memory: int, size: int, images: int) -> None:
    assert images_at_once(kind, memory, size) == images


def test_portions_are_halved_until_they_fit_and_stay_so() -> None:
    seen: list[tuple[int, int]] = []

    def work(part: slice) -> None:
        if part.stop - part.start > 30:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        seen.append((part.start, part.stop))

    portions = Portions(100)
    portions.each(60, work)
    assert seen == [(0, 30), (30, 60)]
    seen.clear()
    portions.each(70, work)
    assert seen == [(0, 30), (30, 60), (60, 70)]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("shapes differ")])
def test_what_smaller_portions_do_not_help_is_raised(error: RuntimeError) -> None:
    def work(part: slice) -> None:
        raise error

    with pytest.raises(type(error), match=str(error)):
        Portions(8).each(8, work)


class Recording(nn.Module):
    """Two logits per image; `seen` are the sizes of the batches."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        return x.mean((2, 3))[:, :2]


def test_large_images_are_classified_in_portions_too() -> None:
    cpu, model = torch.device("cpu"), Recording()
    constants = Constants(torch.zeros(3), torch.ones(3))
    classifier = Classifier(1, 1, "", Labels(("a", "b"), None), model, constants, 224, cpu)
    images = np.random.default_rng(0).integers(0, 256, (BATCH, 32, 32, 3), np.uint8)
    probabilities = classifier.probabilities(images)
    assert max(model.seen) == images_at_once("cpu", memory_of(cpu), 224) < BATCH
    assert torch.allclose(probabilities[-1:], classifier.probabilities(images[-1:]))
