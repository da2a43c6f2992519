"""A checkpoint's first-layer filters as an image."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from safetensors import SafetensorError, safe_open

from app.errors import ApiError

MAX_FILTERS = 64
COLUMNS = 16
GAP = 3
DRAWN_TYPES = ("F16", "F32", "F64")
SIDE = 32  # minimum side of a drawn filter in pixels; filters are enlarged by an integer factor


def first_filters(checkpoint: Path) -> bytes | None:
    """Return a PNG of the first layer with three input channels; None if there is none.

    Each filter is scaled to its own range. A layer of a multilayer perceptron is drawn if its inputs form square
    images with a side of at least 16 pixels. Raises ApiError 409: the checkpoint is damaged.
    """
    try:
        return _first_filters(checkpoint)
    except SafetensorError as error:
        raise ApiError(409, "checkpoint_damaged", f"{checkpoint.name} is damaged: {error}") from None


def _first_filters(checkpoint: Path) -> bytes | None:
    with safe_open(str(checkpoint), framework="numpy") as file:
        names: list[str] = file.keys()
        for name in names:
            if name.startswith("model.") and name.endswith("weight"):
                layer = file.get_slice(name)
                shape = layer.get_shape()
                if layer.get_dtype() not in DRAWN_TYPES or 0 in shape:
                    continue
                if len(shape) == 4 and shape[1] == 3 and shape[2] > 1:
                    return _draw(file.get_tensor(name))
                side = round((shape[1] / 3) ** 0.5) if len(shape) == 2 else 0
                if side and 3 * side * side == shape[1] and side >= 16:
                    return _draw(file.get_tensor(name).reshape(-1, 3, side, side))
    return None


def _draw(weights: npt.NDArray[np.float32]) -> bytes:
    filters = np.nan_to_num(weights[:MAX_FILTERS].transpose(0, 2, 3, 1).astype(np.float64), posinf=0, neginf=0)
    low, high = (reduce(filters, axis=(1, 2, 3), keepdims=True) for reduce in (np.min, np.max))
    pixels = (255 * (filters - low) / np.maximum(high - low, 1e-12)).round().astype(np.uint8)
    scale = max(1, SIDE // pixels.shape[1])
    pixels = pixels.repeat(scale, 1).repeat(scale, 2)
    side, columns = pixels.shape[1] + GAP, min(COLUMNS, len(pixels))
    sheet = Image.new("RGBA", (columns * side - GAP, -(-len(pixels) // columns) * side - GAP))
    for index, image in enumerate(pixels):
        sheet.paste(Image.fromarray(image), (index % columns * side, index // columns * side))
    buffer = BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()
