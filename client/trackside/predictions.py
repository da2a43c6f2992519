"""What a model says of image files: sent in batches, answered per file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trackside.api import Api
from trackside.errors import ApiError

MOST_FILES = 32  # of one request; the server accepts 64 by default
MOST_BYTES = 32 << 20
OF_THE_IMAGE = (413, 415, 422)  # statuses of a request with one image that is at fault itself


@dataclass(frozen=True)
class Prediction:
    """A class and its probability, from 0 to 1; index: its place among the dataset's classes, from 0."""

    label: str
    index: int
    probability: float
    superclass: str | None


@dataclass(frozen=True)
class Predicted:
    """The answer for one file.

    decision: "accept" or "unsure" where the model has a threshold, else None.
    error: {"code", "message"} of a file that could not be read, else None.
    """

    path: Path
    predictions: tuple[Prediction, ...]
    decision: str | None
    error: dict[str, Any] | None


def batches_of(paths: Sequence[str | os.PathLike[str]]) -> Iterator[list[Path]]:
    """Yield the paths in groups of at most MOST_FILES files and about MOST_BYTES bytes. Raises OSError."""
    batch: list[Path] = []
    size = 0
    for path in map(Path, paths):
        more = path.stat().st_size
        if batch and (len(batch) == MOST_FILES or size + more > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(path)
        size += more
    if batch:
        yield batch


def predicted_of(api: Api, model: str, paths: Sequence[Path], top_k: int) -> list[Predicted]:
    """Have one group of files classified. Raises OSError and ApiError."""
    files = [(path.name, path.read_bytes()) for path in paths]
    try:
        answer = api.upload("/api/predict", files, model=model, top_k=top_k)
    except ApiError as error:
        # Of several files each has its error; that of a single one is the error of the request.
        if len(paths) > 1 or error.status not in OF_THE_IMAGE or isinstance(error.detail, list):
            raise
        return [Predicted(paths[0], (), None, {"code": error.code, "message": error.message})]
    results = answer["results"] if len(paths) > 1 else [answer]
    return [_predicted(path, found) for path, found in zip(paths, results)]


def _predicted(path: Path, found: Mapping[str, Any]) -> Predicted:
    predictions = tuple(
        Prediction(item["label"], item["index"], item["probability"], item.get("superclass"))
        for item in found.get("predictions") or ()
    )
    return Predicted(path, predictions, found.get("decision"), found.get("error"))
