"""Images, and the kinds of values that are accepted and passed over."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from trackside.errors import UsageError
from trackside.png import encode_png

MAX_BYTES = 20 << 20
MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"), (b"RIFF", "webp"),
)  # fmt: skip


class Image:
    """An image to log: a path, bytes of a file, a PIL image, a matplotlib figure, a numpy array or a torch tensor.

    Arrays are height × width, or with 1, 3 or 4 channels last; tensors have the channels first. Floating-point values
    are 0 to 1 (-1 to 1 if any is negative), integers 0 to 255.
    """

    def __init__(self, data_or_path: Any, mode: str | None = None, caption: str | None = None, **_: Any) -> None:
        self.data: bytes
        self.format: str
        self.caption = None if caption is None else str(caption)
        self._mode = mode
        if isinstance(data_or_path, Image):
            self.data, self.format = data_or_path.data, data_or_path.format
            self.caption = self.caption or data_or_path.caption
            return
        # Encoded at once: a caller may reuse the array.
        self.data, self.format = self._encode(data_or_path)

    def _encode(self, source: Any) -> tuple[bytes, str]:
        if isinstance(source, (str, os.PathLike)):
            return _known(Path(source).read_bytes(), str(source))
        if isinstance(source, (bytes, bytearray)):
            return _known(bytes(source), "the image")
        if _is_figure(source):
            return _saved(lambda file: source.savefig(file, format="png"))
        if is_picture(source):
            kept = source if source.mode in ("1", "L", "LA", "P", "RGB", "RGBA") else source.convert("RGB")
            return _saved(lambda file: (kept.convert(self._mode) if self._mode else kept).save(file, format="PNG"))
        return _array_png(source), "png"


def is_picture(value: Any) -> bool:
    """Whether it is a figure of matplotlib or an image of PIL, neither of which has to be installed."""
    return _is_figure(value) or (hasattr(value, "save") and hasattr(value, "mode") and hasattr(value, "convert"))


def _is_figure(value: Any) -> bool:
    return hasattr(value, "savefig")


def _known(data: bytes, name: str) -> tuple[bytes, str]:
    for magic, form in MAGIC:
        if data.startswith(magic):
            return data, form
    raise UsageError(f"{name} is not a PNG, JPEG, GIF or WebP image.")


def _saved(save: Any) -> tuple[bytes, str]:
    file = io.BytesIO()
    save(file)
    return file.getvalue(), "png"


def _array_png(source: Any) -> bytes:
    import numpy as np  # whoever has arrays has it

    if hasattr(source, "detach"):
        tensor = source.detach().cpu()
        array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        array = array[0] if array.ndim == 4 and array.shape[0] == 1 else array
        array = np.moveaxis(array, 0, -1) if array.ndim == 3 else array
    else:
        array = np.asarray(source)
    if array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4) and array.shape[0] in (1, 3, 4):
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or not array.size or array.dtype.kind not in "biuf":
        raise UsageError(f"An image has the shape {array.shape}: use height × width, or with 1, 3 or 4 channels.")
    height, width, channels = array.shape
    return encode_png(_to_bytes(np, array).tobytes(), width, height, channels)


def _to_bytes(np: Any, array: Any) -> Any:
    if array.dtype.kind == "f":
        array = np.nan_to_num(array)
        low, high = float(array.min()), float(array.max())
        if low < 0 and high <= 1:
            array = (array + 1) / 2
        if high <= 1:
            array = array * 255
    elif array.dtype.kind == "b":
        array = array.astype(np.uint8) * 255
    return np.clip(array, 0, 255).astype(np.uint8)


class PassedOver:
    """A value that wandb can log and Trackside cannot: it is created, and passed over with one warning."""

    def __init__(self, *_arguments: Any, **_options: Any) -> None:
        return

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_arguments, **_options: self


class Histogram(PassedOver):
    pass


class Table(PassedOver):
    pass


class Video(PassedOver):
    pass


class Audio(PassedOver):
    pass


class Html(PassedOver):
    pass


class Object3D(PassedOver):
    pass


class Molecule(PassedOver):
    pass


class Plotly(PassedOver):
    pass


class Graph(PassedOver):
    pass


class Artifact(PassedOver):
    pass
