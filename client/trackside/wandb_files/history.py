"""A row of W&B's history as items: which value at which step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trackside.imports.items import Images, Item, Scalar, Text
from trackside.series import Rules
from trackside.wandb_files.values import OWN, Tree, leaves

IMAGE, IMAGES = "image-file", "images/separated"


class Rows:
    """A series only grows, as in the client: a value at or before its last step is left out.

    `latest` has the last value of each series and text.
    """

    def __init__(self, files: Path) -> None:
        self.rules = Rules()
        self.left_out: Counter[str] = Counter()
        self.latest: dict[str, Any] = {}
        self._steps: dict[str, int] = {}
        self._files = files.resolve()

    def items(self, row: Tree, step: int) -> Iterator[tuple[int, Item]]:
        """Yield step and item of each value of a row."""
        values = {name: value for name, value in leaves(row) if name.partition("/")[0] not in OWN}
        for name, value in values.items():
            if isinstance(value, (bool, int, float)):
                at = self._position(name, values, step)
                if at > self._steps.get(name, -1):
                    self._steps[name] = at
                    self.latest[name] = value
                    yield at, Scalar(name, value)
                elif name not in self.rules.axis_names:
                    self.left_out["values at steps that were passed already"] += 1
            elif isinstance(value, str):
                self.latest[name] = value
                yield step, Text(name, value)
            elif isinstance(value, dict):
                if (images := self._images(name, value)) is not None:
                    yield step, images
            elif value is not None:
                self.left_out["lists"] += 1

    def _position(self, name: str, values: dict[str, Any], step: int) -> int:
        """The step of a value: that of the row, or what `define_metric` has said."""
        axis = name if name in self.rules.axis_names else self.rules.axis_of(name)
        if axis is None:
            return step
        found = values.get(axis, self.latest.get(axis))
        if isinstance(found, (int, float)) and 0 <= found <= 2**53 and found == int(found):
            return int(found)
        return step

    def _images(self, name: str, value: Tree) -> Images | None:
        """The images whose files are there; None for other media."""
        if value["_type"] == IMAGE:
            paths: list[Any] = [value.get("path")]
            captions: Any = [value.get("caption")]
        elif value["_type"] == IMAGES and isinstance(value.get("filenames"), list):
            paths, captions = value["filenames"], value.get("captions")
        else:
            self.left_out[f"values of type {value['_type'][:50]}"] += 1
            return None
        captions = captions if isinstance(captions, list) else []
        data, shown = [], []
        for index, path in enumerate(paths):
            found = self._bytes(path)
            if found is None:
                self.left_out["images whose files are missing"] += 1
                continue
            data.append(found)
            shown.append(str(captions[index] or "") if index < len(captions) else "")
        return Images(name, data, shown)

    def _bytes(self, path: Any) -> bytes | None:
        """The bytes of a file below `files`."""
        if not isinstance(path, str):
            return None
        try:
            found = (self._files / path).resolve()
            return found.read_bytes() if self._files in found.parents else None
        except (OSError, ValueError):
            return None
