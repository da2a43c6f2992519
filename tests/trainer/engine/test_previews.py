"""What the launch form shows of a run before it is created."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trainer.data.format import open_split
from trainer.engine.preview import IMAGES, augmented
from trainer.models.footprint import saved_bytes
from trainer.spec.preset import build_spec
from trainer.spec.train_spec import ModelSpec


def test_images_are_shown_as_the_augmentation_changes_them(shapes: Path) -> None:
    plain = np.asarray(augmented(shapes, build_spec("shapes100", "baseline-cnn")))
    assert plain.shape == (32, IMAGES * 32, 3)
    stored = open_split(shapes, "shapes100", "train")[0]
    assert any(np.array_equal(plain[:, :32], image) for image in stored)
    cut = np.asarray(augmented(shapes, build_spec("shapes100", "baseline-cnn", {"augment.cutout": 8})))
    changed = (plain != cut).any(2).reshape(32, IMAGES, 32).sum((0, 2))
    assert (changed > 0).all()
    assert (changed <= 64).all()
    mixed = np.asarray(augmented(shapes, build_spec("shapes100", "baseline-cnn", {"augment.mixup": 1.0})))
    assert not np.array_equal(mixed, plain)


def test_what_a_forward_pass_keeps_is_counted_without_doing_it() -> None:
    narrow, wide = (
        saved_bytes(ModelSpec(name="resnet18", widths=w), 10, 32) for w in ((8, 16, 32, 64), (16, 32, 64, 128))
    )
    assert 1.8 < wide / narrow < 2.2
    # Inputs of the four layers and of the three activations: 3072, then 1024, 512 and 256 twice, in float32.
    mlp = saved_bytes(ModelSpec(name="mlp"), 10, 32)
    assert 4 * 3072 <= mlp <= 4 * (3072 + 2 * (1024 + 512 + 256) + 10)
