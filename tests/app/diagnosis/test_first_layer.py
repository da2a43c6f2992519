"""The picture of a checkpoint's first filters, also of a file that is damaged."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from app.diagnosis.first_layer import first_filters
from app.errors import ApiError
from tests.trainer.models.test_damaged_headers import DAMAGED


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "00000001.safetensors"
    path.write_bytes(content)
    with pytest.raises(ApiError, match=f"{path.name} is damaged") as caught:
        first_filters(path)
    assert caught.value.status == 409


@pytest.mark.parametrize("value", [0.0, 1.0, np.nan, np.inf])
def test_filters_of_any_values_are_drawn(tmp_path: Path, value: float) -> None:
    path = tmp_path / "00000001.safetensors"
    weights = np.full((20, 3, 3, 3), value, np.float32)
    weights[1] = np.arange(27).reshape(3, 3, 3)
    safetensors.numpy.save_file({"model.a.weight": weights, "optim.weight": weights}, path)
    drawn = first_filters(path)
    assert drawn is not None
    assert Image.open(BytesIO(drawn)).size == (16 * 33 - 3, 2 * 33 - 3)


def test_layers_that_are_no_filters_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "00000001.safetensors"
    layers: dict[str, np.ndarray[Any, Any]] = {
        "model.a.weight": np.zeros((0, 3, 3, 3), np.float32),
        "model.b.weight": np.zeros((4, 3, 3, 3), np.int8),
        "model.c.weight": np.zeros((4, 10), np.float32),
    }
    safetensors.numpy.save_file(layers, path)
    assert first_filters(path) is None
