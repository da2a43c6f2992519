"""Classification of a folder of PNG files with the network of `quick`, relative to the speed of the network alone."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from PIL import Image

from tests.benchmarks.rows import Row, data_root
from trainer.data.format import DatasetRecord, Images, open_split, read_record
from trainer.inference.batch_predict import batch_size, predict_files
from trainer.inference.classifier import Classifier
from trainer.inference.decoding import FileDecoder, decoded
from trainer.inference.ensemble import open_runs
from trainer.inference.image_files import ImageFile, open_paths
from trainer.models import checkpoint
from trainer.models.build import build_model
from trainer.models.device import prepare
from trainer.process.threads import SPIN_LIMIT
from trainer.rundir.creation import create_run_dir
from trainer.spec.preset import build_spec
from trainer.system.parallel import available_cores

IMAGES = 10_000
TIMES = 3
MARK = 0.9


def measure(images: int = IMAGES, times: int = TIMES) -> list[Row]:
    """Run `timed` in a new process with the thread settings (`PATIENT_THREADS`) of `trackside predict`."""
    # Not -m: decoding processes import the main module of their parent, and this module imports torch.
    script = f"import json; from {__name__} import timed; print(json.dumps(timed({images}, {times})))"
    told = subprocess.run(
        [sys.executable, "-c", script],
        env={**SPIN_LIMIT, **os.environ},
        stdout=subprocess.PIPE,
        check=True,
    )
    count, bare, alone, whole = json.loads(told.stdout)
    rates = ", ".join(
        f"{name} {count / statistics.median(times):,.0f} images/s"
        for name, times in (("network alone", bare), ("decoding alone", alone), ("the whole", whole))
    )
    # Decoding and the network share the cores, so their times add up.
    kept = statistics.median(b / (w - a) for b, a, w in zip(bare, alone, whole, strict=True))
    share = statistics.median(b / w for b, w in zip(bare, whole, strict=True))
    what = f"a folder of {count:,} 32×32 PNG files through quick's network on {available_cores()} cores"
    return [
        Row(f"predict, {what}", "", f"{rates}: {share:.0%} of the network's speed", None),
        Row("the same, once images are decoded", f"≥ {MARK:.0%} of the network's speed", f"{kept:.0%}", kept >= MARK),
    ]


def timed(images: int, times: int) -> tuple[int, list[float], list[float], list[float]]:
    """Return the number of images and, per repetition, the seconds of the network alone, of decoding alone and of
    both."""
    root = data_root()
    pixels = open_split(root, "shapes100", "test")[0][:images]
    bare, alone, whole = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        classifier, record = _trained(Path(folder), root)
        files = _written(Path(folder) / "images", pixels)
        _bare(classifier, pixels[: 2 * batch_size(classifier)])
        for _ in range(times):
            bare.append(_seconds(partial(_bare, classifier, pixels)))
            alone.append(_seconds(lambda: sum(len(c) for c in decoded(files, _decoder(record), lambda: False))))
            whole.append(_seconds(lambda: sum(len(b) for b in predict_files(classifier, record, files, 5))))
    return len(pixels), bare, alone, whole


def _trained(home: Path, datasets: Path) -> tuple[Classifier, DatasetRecord]:
    """Return the preset's network with its initial weights, whose speed is that of trained ones."""
    spec, record = build_spec("shapes100", "quick", {}), read_record(datasets, "shapes100")
    create_run_dir(home / "run", spec, record, {})
    torch.manual_seed(0)
    model = build_model(spec.model, len(record.classes), spec.model.input_size or record.size)
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    checkpoint.save(home / "run", weights, {}, step=1, epoch=0, metrics={}, best=True)
    return open_runs([home / "run"], datasets, prepare("cpu"))


def _written(folder: Path, pixels: Images) -> list[ImageFile]:
    folder.mkdir()
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number:05d}.png")
    return list(chain(*open_paths([folder])))


def _bare(classifier: Classifier, pixels: Images) -> None:
    size = batch_size(classifier)
    for start in range(0, len(pixels), size):
        classifier.probabilities(pixels[start : start + size])


def _decoder(record: DatasetRecord) -> FileDecoder:
    return FileDecoder(record.size, record.fit)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
