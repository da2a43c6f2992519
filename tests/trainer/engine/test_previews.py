"""What the launch form shows of a run before it is created."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.data.format import open_split
from trainer.engine.preview import IMAGES, augmented
from trainer.models.footprint import saved_bytes
from trainer.spec.model_spec import ModelSpec
from trainer.spec.preset import build_spec


def test_images_are_shown_as_the_augmentation_changes_them(shapes: Path) -> None:
    plain = np.asarray(augmented(shapes, build_spec("shapes100", "baseline-cnn")))
    assert plain.shape == (32, IMAGES * 32, 3)
    stored = open_split(shapes, "shapes100", "train")[0]
    assert any(np.array_equal(plain[:, :32], image) for image in stored)
    cut = np.asarray(augmented(shapes, build_spec("shapes100", "baseline-cnn", {"augment.cutout": 8})))
    changed = (plain != cut).any(2).reshape(32, IMAGES, 32).sum((0, 2))
    assert (changed > 0).all()
    assert (changed <= 64).all()


@pytest.mark.parametrize(
    "settings",
    [{"mixup": 1.0}, {"resized_crop": 0.3}, {"vertical_flip": True}, {"rotation": 30}, {"brightness": 0.5},
     {"contrast": 0.5}, {"saturation": 0.8}, {"hue": 0.3}, {"blur": 1.0}, {"randaugment": 2}],
)  # fmt: skip
def test_each_augmentation_has_its_picture(settings: dict[str, Any], shapes: Path) -> None:
    plain = np.asarray(augmented(shapes, build_spec("shapes100", "baseline-cnn")))
    overrides = {f"augment.{name}": value for name, value in settings.items()}
    changed = np.asarray(augmented(shapes, build_spec("shapes100", "baseline-cnn", overrides)))
    assert changed.shape == plain.shape
    assert not np.array_equal(changed, plain)


def test_a_resized_crop_is_shown_in_the_size_that_the_network_receives(shapes: Path) -> None:
    overrides = {"augment.resized_crop": 0.3, "augment.cutout": 40, "model.input_size": 64}
    assert np.asarray(augmented(shapes, build_spec("shapes100", "baseline-cnn", overrides))).shape[0] == 64


def test_what_a_forward_pass_keeps_is_counted_without_doing_it() -> None:
    narrow, wide = (
        saved_bytes(ModelSpec(name="resnet18", widths=w), 10, 32) for w in ((8, 16, 32, 64), (16, 32, 64, 128))
    )
    assert 1.8 < wide / narrow < 2.2
    # Inputs of the four layers and of the three activations: 3072, then 1024, 512 and 256 twice, in float32.
    mlp = saved_bytes(ModelSpec(name="mlp"), 10, 32)
    assert 4 * 3072 <= mlp <= 4 * (3072 + 2 * (1024 + 512 + 256) + 10)
