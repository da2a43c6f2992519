"""Predict any number of image files: they are decoded on all cores in the background, and results keep their order."""

from __future__ import annotations

import csv
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TextIO

import numpy as np
import orjson

from trainer.data.decoding import Fault
from trainer.data.format import Fit
from trainer.inference.classifier import Classifier, Prediction
from trainer.inference.decoding import CHUNK, FileDecoder, decoded
from trainer.inference.image_files import ImageFile
from trainer.system.controls import escape_controls
from trainer.system.prefetch import prefetch
from trainer.system.spreadsheet import safe_cell

BATCH = 256  # on a CPU larger batches fall out of the cache
LARGE_BATCH = 64  # for images of more than 64 px
PREFETCHED_BATCHES = 2

COLUMNS = ("file", "rank", "label", "probability", "error")


class Fitted(Protocol):
    """How images are fitted for the network. A dataset's record and an exported model have both fields."""

    @property
    def size(self) -> int: ...

    @property
    def fit(self) -> Fit: ...


@dataclass(frozen=True)
class FileResult:
    name: str
    predictions: list[Prediction]
    fault: Fault | None = None


def predict_files(
    classifier: Classifier, fitted: Fitted, files: Iterable[ImageFile], top_k: int
) -> Generator[list[FileResult], None, None]:
    """Yield the `top_k` most likely classes of the files, per batch. The same files give the same batches.

    Raises OutputNotFinite.
    """
    size = batch_size(classifier)
    make = partial(decoded, files, FileDecoder(fitted.size, fitted.fit))
    waiting: list[tuple[ImageFile, bytes | Fault]] = []
    with closing(prefetch(make, PREFETCHED_BATCHES * size // CHUNK)) as chunks:
        for chunk in chunks:
            waiting += chunk
            if len(waiting) >= size:
                yield _classified(classifier, fitted.size, waiting[:size], top_k)
                del waiting[:size]
    if waiting:
        yield _classified(classifier, fitted.size, waiting, top_k)


def batch_size(classifier: Classifier) -> int:
    return BATCH if classifier.size <= 64 else LARGE_BATCH


def _classified(
    classifier: Classifier, size: int, batch: list[tuple[ImageFile, bytes | Fault]], top_k: int
) -> list[FileResult]:
    images = [found for _, found in batch if not isinstance(found, Fault)]
    pixels = np.frombuffer(b"".join(images), np.uint8).reshape(-1, size, size, 3)
    rows = iter(classifier.predict(pixels, top_k) if images else ())
    return [
        FileResult(file.name, [], found) if isinstance(found, Fault) else FileResult(file.name, next(rows))
        for file, found in batch
    ]


class ResultWriter(Protocol):
    def write(self, results: Iterable[FileResult]) -> None: ...


class CsvWriter:
    """Writes one row per predicted class, or one row with the error. Names are safe to show in a terminal."""

    def __init__(self, out: TextIO) -> None:
        self._rows = csv.writer(out)
        self._rows.writerow(COLUMNS)

    def write(self, results: Iterable[FileResult]) -> None:
        for result in results:
            if result.fault is not None:
                self._rows.writerow([_cell(result.name), "", "", "", _cell(result.fault.message)])
            self._rows.writerows(
                [_cell(result.name), rank, _cell(item.label), f"{item.probability:.6f}", ""]
                for rank, item in enumerate(result.predictions, 1)
            )


def _cell(text: str) -> str:
    return safe_cell(escape_controls(text))


class JsonLinesWriter:
    """Writes one object per file: `file`, and `predictions` or `error` in the format of /api/predict."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, results: Iterable[FileResult]) -> None:
        self._out.writelines(orjson.dumps(_public(result)).decode() + "\n" for result in results)


def _public(result: FileResult) -> dict[str, Any]:
    if result.fault is not None:
        return {"file": result.name, "error": result.fault}
    return {"file": result.name, "predictions": [_without_none(item) for item in result.predictions]}


def _without_none(item: Prediction) -> dict[str, Any]:
    return {name: value for name, value in vars(item).items() if value is not None}
