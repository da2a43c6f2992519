"""What an event of TensorBoard holds: scalars, texts, images and hyperparameters. The rest is counted.

The numbers of the fields are those of TensorFlow's event.proto, summary.proto and tensor.proto, and of TensorBoard's
plugin_data.proto for hyperparameters.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass
from typing import Any

from trackside.imports.items import Images, Item, Scalar, Settings, Text
from trackside.imports.protobuf import Malformed, as_bytes, as_double, as_float, as_text, fields, signed

HPARAMS_TAG = "_hparams_/session_start_info"
TEXT_SUFFIX = "/text_summary"  # which torch adds to the names of texts
OTHERS = {5: "histograms", 6: "audio", 7: "graphs"}  # other fields of a value
NUMBERS = {1: "f", 2: "d", 3: "i", 9: "q"}  # types of tensors: their elements as `struct` names them
REPEATED = {5: "<f", 6: "<d"}  # fields of a tensor whose elements have a fixed size
INTEGERS = (7, 10)  # those of integers
# Keys of the fields of a scalar's event, with their wire types.
TIME, STEP, SUMMARY, FIRST, FLOAT = 0x09, 0x10, 0x2A, 0x0A, 0x15
_double, _float = struct.Struct("<d").unpack_from, struct.Struct("<f").unpack_from


@dataclass
class Tensor:
    """`texts`: the elements of a tensor of strings; `number`: the first element of a tensor of numbers."""

    texts: list[bytes]
    number: float | None = None


class Decoder:
    """Decodes the events of one run. `left_out` counts the kinds of values that have no place here."""

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()
        self._plugins: dict[str, str] = {}  # by tag: only the first value of a tag has to name its plugin

    def decode(self, data: bytes) -> tuple[float, int, list[Item]]:
        """Return time, step and items of an event. Raises Malformed."""
        return _only_scalar(data) or self._decoded(data)

    def _decoded(self, data: bytes) -> tuple[float, int, list[Item]]:
        time, step = 0.0, 0
        items: list[Item] = []
        for field, value in fields(data):
            if field == 1:
                time = as_double(value)
            elif field == 2:
                step = signed(value)
            elif field == 5:
                for inner, one in fields(as_bytes(value)):
                    if inner == 1 and (item := self._item(as_bytes(one))) is not None:
                        items.append(item)
        return time, step, items

    def _item(self, data: bytes) -> Item | None:
        name, item, image = "", None, b""
        tensor: bytes | None = None
        for field, value in fields(data):
            if field == 1:
                name = as_text(value)
            elif field == 2:
                return Scalar(name, as_float(value)) if name else None
            elif field == 4:
                image = next((as_bytes(one) for inner, one in fields(as_bytes(value)) if inner == 4), b"")
            elif field == 8:
                tensor = as_bytes(value)
            elif field == 9:
                self._plugin(name, as_bytes(value))
                if name == HPARAMS_TAG:
                    return self._settings(as_bytes(value))
            elif field in OTHERS:
                item = OTHERS[field]
        if image:
            return Images(name, [image])
        if tensor is not None:
            return self._of_tensor(name, tensor)
        if item is not None:
            self.left_out[item] += 1
        return None

    def _plugin(self, name: str, data: bytes) -> None:
        for field, value in fields(data):
            if field == 1:
                self._plugins.setdefault(name, plugin_of(as_bytes(value))[0])

    def _of_tensor(self, name: str, data: bytes) -> Item | None:
        plugin = self._plugins.get(name, "")
        if plugin == "scalars":
            number = tensor_of(data).number
            return None if number is None else Scalar(name, number)
        if plugin == "text":
            shown = name[: -len(TEXT_SUFFIX)] if name.endswith(TEXT_SUFFIX) else name
            return Text(shown, "\n".join(text.decode("utf-8", "replace") for text in tensor_of(data).texts))
        if plugin == "images":
            return Images(name, tensor_of(data).texts[2:])  # after width and height
        self.left_out[plugin or "tensors"] += 1
        return None

    def _settings(self, data: bytes) -> Settings | None:
        for field, value in fields(data):
            if field == 1:
                for inner, content in fields(plugin_of(as_bytes(value))[1]):
                    if inner == 3:  # session_start_info
                        entries = [as_bytes(one) for number, one in fields(as_bytes(content)) if number == 1]
                        return Settings(dict(map(_setting, entries)))
        return None


def _only_scalar(data: bytes) -> tuple[float, int, list[Item]] | None:
    """Decode the commonest event, one short scalar with its fields in order, several times faster; None for others."""
    size = len(data)
    if size < 20 or data[0] != TIME or data[9] != STEP:
        return None
    at, step, shift = 10, 0, 0
    while data[at] > 127 and at < 16:
        step |= (data[at] & 127) << shift
        shift += 7
        at += 1
    step |= data[at] << shift
    tag = at + 7
    if data[at] > 127 or tag > size or data[at + 1] != SUMMARY or data[at + 3] != FIRST or data[at + 5] != FIRST:
        return None
    end = tag + data[at + 6]
    # All lengths take one byte, and lead to the end of the event.
    if end + 5 != size or data[at + 2] != size - at - 3 or data[at + 4] != size - at - 5 or data[end] != FLOAT:
        return None
    name = data[tag:end].decode("utf-8", "replace")
    return _double(data, 1)[0], step, [Scalar(name, _float(data, end + 1)[0])] if name else []


def plugin_of(data: bytes) -> tuple[str, bytes]:
    """Name and content of a value's plugin data."""
    name, content = "", b""
    for field, value in fields(data):
        if field == 1:
            name = as_text(value)
        elif field == 2:
            content = as_bytes(value)
    return name, content


def tensor_of(data: bytes) -> Tensor:
    """Raises Malformed."""
    kind, found = 0, Tensor([])
    for field, value in fields(data):
        if field == 1:
            kind = signed(value)
        elif field == 4 and kind in NUMBERS:
            found.number = _first("<" + NUMBERS[kind], as_bytes(value))
        elif field in REPEATED and found.number is None:
            found.number = _first(REPEATED[field], as_bytes(value))
        elif field in INTEGERS and found.number is None:
            found.number = float(signed(value)) if isinstance(value, int) else _first_varint(value)
        elif field == 8:
            found.texts.append(as_bytes(value))
    return found


def _first(form: str, data: bytes) -> float:
    try:
        return float(struct.unpack_from(form, data)[0])
    except struct.error as error:
        raise Malformed(str(error)) from None


def _first_varint(data: bytes) -> float:
    return float(signed(next(fields(b"\x08" + data))[1]))


def _setting(entry: bytes) -> tuple[str, Any]:
    """An entry of a map from names to google.protobuf.Value."""
    name = ""
    found: Any = None
    for field, value in fields(entry):
        if field == 1:
            name = as_text(value)
        elif field == 2:
            for kind, one in fields(as_bytes(value)):
                if kind == 2:
                    found = as_double(one)
                elif kind == 3:
                    found = as_text(one)
                elif kind == 4:
                    found = bool(one)
    return name, _whole(found)


def _whole(value: Any) -> Any:
    """A whole number as an integer: the format has floating-point numbers alone. Others as JSON can hold them."""
    if isinstance(value, float):
        if value - value != 0.0:
            return str(value)
        return int(value) if value == int(value) and abs(value) < 2**53 else value
    return value
