"""Saliency and familiarity, on networks and validation answers with known results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainer.exported.labels import Labels
from trainer.inference.classifier import Classifier, OutputNotFinite
from trainer.inference.out_of_distribution import LEAST, ConfidenceReference, confidence_reference
from trainer.inference.saliency import MOST_IN_PORTION, Saliency, saliency
from trainer.models.inputs import Constants
from trainer.rundir.answers import Answers, write_answers


class Corner(nn.Module):
    """Predicts class 1 if the upper right `side`×`side` pixels are bright, else class 0."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, images: Tensor) -> Tensor:
        bright = images[:, :, : self.side, -self.side :].mean((1, 2, 3))
        return torch.stack([-bright, bright], 1)


def classifier(model: nn.Module, size: int) -> Classifier:
    constants = Constants(torch.full((3,), 0.5), torch.full((3,), 0.25))
    return Classifier(10, 1, "0" * 64, Labels(["dark", "bright"], None), model, constants, size, torch.device("cpu"))


@pytest.mark.parametrize("size", [32, 64])
def test_the_map_points_at_what_the_network_looks_at(size: int) -> None:
    side = size // 4
    image = np.full((size, size, 3), 255, np.uint8)
    *portions, found = saliency(classifier(Corner(side), size), image, None)
    assert set(portions) == {None}
    assert len(portions) > 49 / MOST_IN_PORTION
    assert isinstance(found, Saliency)
    assert (found.prediction.label, found.prediction.index) == ("bright", 1)
    assert found.prediction.probability > 0.95
    assert (found.strongest.x, found.strongest.y, found.strongest.side) == (size - side, 0, side)
    assert found.strongest.probability == pytest.approx(0.5, abs=0.01)  # the bright part is all mean color now
    assert found.drop.shape == (size, size)
    assert found.drop[0, -1] == pytest.approx(found.prediction.probability - found.strongest.probability, abs=1e-5)
    assert np.abs(found.drop[size // 2 :]).max() == 0
    assert np.abs(found.drop[:, : size // 2]).max() == 0

    *_, other = saliency(classifier(Corner(side), size), image, 0)
    assert isinstance(other, Saliency)
    np.testing.assert_allclose(other.drop, -found.drop, atol=1e-6)
    assert (image == 255).all()


def test_a_slow_network_is_asked_less_often_and_every_pixel_is_still_covered() -> None:
    class Slow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 640, 3, padding=1)
            self.second = nn.Conv2d(640, 640, 3, padding=1)
            self.asked = 0

        def forward(self, images: Tensor) -> Tensor:
            self.asked += len(images)
            bright = images.mean((1, 2, 3))
            if self.asked == 2:  # the call in which FLOPs are counted
                bright = bright + 0 * self.second(self.first(images)).mean((1, 2, 3))
            return torch.stack([-bright, bright], 1)

    slow = Slow()
    *_, found = saliency(classifier(slow, 32), np.full((32, 32, 3), 255, np.uint8), None)
    assert isinstance(found, Saliency)
    assert slow.asked == 2 + 16
    assert (found.drop > 0.001).all()


def test_a_diverged_network_has_no_map() -> None:
    class Broken(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.full((len(images), 2), torch.nan)

    with pytest.raises(OutputNotFinite):
        next(saliency(classifier(Broken(), 32), np.zeros((32, 32, 3), np.uint8), 0))


def keep(run_dir: Path, own: np.ndarray, top: np.ndarray) -> None:
    row, guess = np.arange(len(own), dtype=np.int32), np.zeros(len(own), np.int16)
    write_answers(run_dir, Answers(10, row, guess, own.astype(np.float16), top.astype(np.float16)))


def test_the_threshold_is_reached_by_99_of_100_right_answers(tmp_path: Path) -> None:
    assert confidence_reference(tmp_path, 10) is None
    right, wrong = np.linspace(0.2, 0.9, 200), np.full(50, 0.1)
    keep(tmp_path, np.concatenate([right, wrong / 2]), np.concatenate([right, wrong]))
    reference = confidence_reference(tmp_path, 10)
    assert reference is not None
    assert reference.answers == 200
    assert (right.astype(np.float16) < reference.threshold).sum() == 1
    assert not reference.compare(reference.threshold - 0.01).familiar
    assert reference.compare(reference.threshold).familiar
    keep(tmp_path, right[: LEAST - 1], right[: LEAST - 1])
    assert confidence_reference(tmp_path, 10) is None
    (tmp_path / "artifacts" / "val" / "00000010.safetensors").write_bytes(b"cut short")
    assert confidence_reference(tmp_path, 10) is None


def test_a_sure_network_is_not_called_unsure_by_rounding() -> None:
    assert ConfidenceReference(1.0, 500).compare(0.9999).familiar
