"""Classifying a folder of PNG files with `quick`'s network: how much of the bare network's speed is left."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from PIL import Image

from tests.benchmarks.rows import Row, data_root
from trainer import checkpoint
from trainer.batch_predict import batch_size, predict_files
from trainer.data.decoding import FileDecoder, decoded
from trainer.data.format import DatasetRecord, Images, open_split, read_record
from trainer.data.image_files import ImageFile, open_paths
from trainer.data.parallel import available_cores
from trainer.device import prepare
from trainer.infer import Classifier, open_run
from trainer.models import build_model
from trainer.preset import build_spec
from trainer.rundir import create_run_dir

IMAGES = 5_000
TIMES = 5
MARK = 0.9


def measure(images: int = IMAGES, times: int = TIMES) -> list[Row]:
    """Each repetition times the three one after another: the bare network on pixels, decoding alone, and the whole.

    The mark is held against the whole, the start of the decoding processes included.
    """
    root = data_root()
    pixels = open_split(root, "shapes100", "test")[0][:images]
    bare, alone, whole = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        classifier, record = _trained(Path(folder), root)
        files = _written(Path(folder) / "images", pixels)
        _bare(classifier, pixels[: 2 * batch_size(classifier)])
        for _ in range(times):
            bare.append(_timed(partial(_bare, classifier, pixels)))
            alone.append(_timed(lambda: sum(len(c) for c in decoded(files, _decoder(record), lambda: False))))
            whole.append(_timed(lambda: sum(len(b) for b in predict_files(classifier, record, files, 5))))
    return _rows(len(pixels), bare, alone, whole)


def _rows(count: int, bare: list[float], alone: list[float], whole: list[float]) -> list[Row]:
    rates = ", ".join(
        f"{name} {count / statistics.median(times):,.0f} images/s"
        for name, times in (("network alone", bare), ("decoding alone", alone), ("the whole", whole))
    )
    kept = statistics.median(b / w for b, w in zip(bare, whole, strict=True))
    what = f"a folder of {count:,} 32×32 PNG files through quick's network on {available_cores()} cores"
    return [
        Row(f"predict, {what}", "", rates, None),
        Row(
            "its speed, of the network's on pixels",
            f"≥ {MARK:.0%}",
            f"{kept:.0%} (median of {len(bare)})",
            kept >= MARK,
        ),
    ]


def _trained(home: Path, datasets: Path) -> tuple[Classifier, DatasetRecord]:
    """The preset's network with the weights that it begins with: they cost what any others do."""
    spec, record = build_spec("shapes100", "quick", {}), read_record(datasets, "shapes100")
    create_run_dir(home / "run", spec, record, {})
    torch.manual_seed(0)
    model = build_model(spec.model, len(record.classes), spec.model.input_size or record.size)
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    checkpoint.save(home / "run", weights, {}, step=1, epoch=0, metrics={}, best=True)
    return open_run(home / "run", datasets, prepare("cpu"))


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


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
