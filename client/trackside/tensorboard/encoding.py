"""Events as TensorBoard reads them: scalars, texts, images and hyperparameters."""

from __future__ import annotations

import json
from typing import Any

from trackside.imports.protobuf import double, message, number, single
from trackside.tensorboard.decoding import HPARAMS_TAG
from trackside.tensorboard.records import framed
from trackside.values import flatten

STRINGS = 7  # the type of a tensor


def version_record(time: float) -> bytes:
    """The first record of a file."""
    return framed(double(1, time) + message(3, "brain.Event:2"))


def scalar_record(time: float, step: int, name: str, value: float) -> bytes:
    return _record(time, step, message(1, name) + single(2, value))


def text_record(time: float, step: int, name: str, text: str) -> bytes:
    tensor = number(1, STRINGS) + message(2, message(2, number(1, 1))) + message(8, text)
    return _record(time, step, message(1, name) + message(8, tensor) + _metadata("text", b""))


def images_record(time: float, step: int, name: str, images: list[bytes], width: int, height: int) -> bytes:
    """Images of one step, all of one size."""
    shape = message(2, message(2, number(1, len(images) + 2)))
    sizes = message(8, str(width)) + message(8, str(height))
    tensor = number(1, STRINGS) + shape + sizes + b"".join(message(8, data) for data in images)
    return _record(time, step, message(1, name) + message(8, tensor) + _metadata("images", b""))


def settings_record(time: float, settings: dict[str, Any]) -> bytes:
    """Hyperparameters; nested ones with their names joined by a slash."""
    entries = b"".join(message(1, message(1, name) + message(2, _setting(one))) for name, one in flatten(settings))
    content = message(3, entries + double(5, time))
    return _record(time, 0, message(1, HPARAMS_TAG) + _metadata("hparams", content))


def _setting(value: Any) -> bytes:
    """A google.protobuf.Value: numbers are floating-point ones, lists become their JSON."""
    if isinstance(value, bool):
        return number(4, int(value))
    if isinstance(value, (int, float)):
        return double(2, float(value))
    return message(3, value if isinstance(value, str) else json.dumps(value))


def _metadata(plugin: str, content: bytes) -> bytes:
    return message(9, message(1, message(1, plugin) + message(2, content)))


def _record(time: float, step: int, value: bytes) -> bytes:
    return framed(double(1, time) + number(2, step) + message(5, message(1, value)))
