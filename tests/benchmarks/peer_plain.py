"""A checkpoint served by a minimal handler: FastAPI, synchronous, the model in a variable.

`python -m tests.benchmarks.peer_plain PORT RUN_DIR DATASETS`
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image

from trainer.exported.labels import run_record
from trainer.inference.classifier import Classifier, load_best
from trainer.rundir.spec import read_spec

TOP_K = 5

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Named = list[dict[str, Any]]


def load(run_dir: Path, datasets: Path) -> Classifier:
    spec = read_spec(run_dir)
    return load_best(run_dir, spec, run_record(datasets, run_dir, spec), torch.device("cpu"))


def decoded(data: bytes, size: int) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize((size, size)))


def named(classifier: Classifier, images: list[Pixels]) -> list[Named]:
    return [
        [{"label": item.label, "probability": item.probability} for item in row]
        for row in classifier.predict(np.stack(images), TOP_K)
    ]


def main(port: int, run_dir: Path, datasets: Path) -> None:
    classifier = load(run_dir, datasets)
    app = FastAPI()

    @app.post("/predict")
    def predict(file: UploadFile) -> Named:
        return named(classifier, [decoded(file.file.read(), classifier.size)])[0]

    uvicorn.run(app, port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    port, run_dir, datasets = sys.argv[1:]
    main(int(port), Path(run_dir), Path(datasets))
