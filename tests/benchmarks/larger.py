"""Images per second of a dataset that is larger than the memory, beside timm's loader of JPEG files on the same cores.

Both run in a control group that holds less than the dataset, and crop, flip and normalize images of 224 px into
batches; no network is trained. Needs root and control groups of version 1 or 2.

python -m tests.benchmarks.larger ours|timm FOLDER measures one of them in this process.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timm.data.dataset import ImageDataset
from timm.data.loader import create_loader

from tests.benchmarks.rows import Row
from trainer.data.pixels import pixels_of
from trainer.data.writer import write_dataset
from trainer.engine.batches import Batches
from trainer.engine.context import Context
from trainer.engine.portions import Portions
from trainer.engine.resident import load_resident
from trainer.engine.runtime import Runtime
from trainer.models.device import DATA_LIMIT, prepare
from trainer.models.inputs import Inputs, constants_of
from trainer.plan.execution import Execution
from trainer.rundir.events import EventWriter
from trainer.spec.preset import build_spec

IMAGES, DISTINCT, SIZE, CLASSES = 16_000, 2_000, 224, 10
LIMIT = 1_280 << 20  # bytes of memory, page cache included
BATCH, WARM_UP, BATCHES = 64, 10, 180
ROUNDS = 3
WORKERS = 2


def measure() -> list[Row]:
    if os.geteuid() or not groups():
        return [Row("a dataset larger than the memory", "", "not measured: needs root and control groups", None)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_data(folder)
        speeds: dict[str, list[float]] = {"ours": [], "timm": []}
        held: dict[str, float] = dict.fromkeys(speeds, 0.0)
        for _ in range(ROUNDS):
            for who, found in speeds.items():
                speed, memory = measured(who, folder)
                found.append(speed)
                held[who] = max(held[who], memory)
    ratios = [ours / other for ours, other in zip(speeds["ours"], speeds["timm"], strict=True)]
    data = IMAGES * SIZE * SIZE * 3
    return [
        Row(
            f"{data / 1e9:.1f} GB of {SIZE} px images in {LIMIT / 1e9:.2f} GB of memory: images/s beside timm's loader",
            "≥ 1.5×",
            f"{statistics.median(ratios):.2f}× ({min(ratios):.2f} to {max(ratios):.2f}): "
            f"{statistics.median(speeds['ours']):,.0f} against {statistics.median(speeds['timm']):,.0f}",
            statistics.median(ratios) >= 1.5,
        ),
        Row(
            "the same: memory of the processes without the page cache",
            "",
            f"{held['ours'] / 1e6:,.0f} MB, timm's with {WORKERS} workers {held['timm'] / 1e6:,.0f} MB",
            None,
        ),
    ]


def groups() -> Path | None:
    """The folder in which control groups of memory are made."""
    for path, file in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        if (Path(path) / "cgroup.procs").exists() and (path.endswith("memory") or not (Path(path) / file).exists()):
            return Path(path)
    return None


@contextmanager
def limited() -> Iterator[Path]:
    """A control group with LIMIT bytes of memory."""
    root = groups()
    assert root is not None
    group = root / f"trackside-{os.getpid()}"
    group.mkdir()
    is_old = root.name == "memory"
    (group / ("memory.limit_in_bytes" if is_old else "memory.max")).write_text(str(LIMIT))
    try:
        yield group
    finally:
        group.rmdir()


def measured(who: str, folder: Path) -> tuple[float, float]:
    """Images per second, and the largest memory of the group's processes without the page cache, in bytes."""
    with limited() as group:
        command = [sys.executable, "-m", "tests.benchmarks.larger", who, str(folder)]
        environment = {**os.environ, DATA_LIMIT: "1"}
        process = subprocess.Popen(
            ["sh", "-c", 'echo $$ > "$0"; exec "$@"', str(group / "cgroup.procs"), *command],
            stdout=subprocess.PIPE,
            env=environment,
        )
        largest = 0.0
        while process.poll() is None:
            largest = max(largest, held_in(group))
            try:
                process.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
        assert process.stdout is not None
        found = json.loads(process.stdout.read())
    return found, largest


def held_in(group: Path) -> float:
    lines = (line.split() for line in (group / "memory.stat").read_text().splitlines())
    values = {name: float(value) for name, value in lines}
    return values.get("total_rss", values.get("anon", 0.0))


def make_data(folder: Path) -> None:
    """The dataset, and the same images as JPEG files in folders of classes. Images repeat; files are links."""
    rng = np.random.default_rng(0)
    pictures = np.empty((DISTINCT, SIZE, SIZE, 3), np.uint8)
    for index in range(DISTINCT):
        coarse = Image.fromarray(rng.integers(0, 256, (14, 14, 3), dtype=np.uint8)).resize((SIZE, SIZE))
        fine = rng.integers(-12, 13, (SIZE, SIZE, 3))
        pictures[index] = np.clip(np.asarray(coarse) + fine, 0, 255)
    labels = np.arange(IMAGES) % CLASSES
    for index, label in enumerate(labels.tolist()):
        path = folder / "files" / f"class{label}" / f"{index:06d}.jpg"
        if index < DISTINCT:
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pictures[index]).save(path, quality=90)
        else:
            first = index % DISTINCT
            path.hardlink_to(folder / "files" / f"class{first % CLASSES}" / f"{first:06d}.jpg")
    arrays = {
        "train": (pictures[np.arange(IMAGES) % DISTINCT], labels, [f"{index}.jpg" for index in range(IMAGES)]),
        "test": (pictures[:CLASSES], np.arange(CLASSES), [f"t{index}.jpg" for index in range(CLASSES)]),
    }
    names = [f"class{label}" for label in range(CLASSES)]
    write_dataset(folder / "datasets", "big", arrays=arrays, classes=names, source="benchmark")  # type: ignore[arg-type]


def ours(folder: Path) -> float:
    spec = build_spec("big", "resnet18", {"augment.crop": 0, "augment.resized_crop": 0.08, "val_fraction": 0.0})
    device = prepare("cpu")
    data = load_resident(folder / "datasets", spec, device)
    assert data.streamed
    (folder / "run").mkdir(exist_ok=True)
    runtime = Runtime(device, Execution("float32", True, torch.get_num_threads()))
    constants = constants_of(pixels_of(spec, data.record), device)
    events = EventWriter(folder / "run", 1)
    context = Context(folder / "run", events, spec, device, data, constants, runtime, Portions.of(device, SIZE))
    batches, inputs = Batches(context, BATCH), Inputs(constants, SIZE)
    for position in range(WARM_UP + BATCHES):
        if position == WARM_UP:
            began = time.perf_counter()
        raw, _, _, _ = batches.take(0, position)
        inputs(raw, SIZE)
    return BATCHES * BATCH / (time.perf_counter() - began)


def timms(folder: Path) -> float:
    loader = create_loader(
        ImageDataset(str(folder / "files")),  # type: ignore[no-untyped-call]
        input_size=(3, SIZE, SIZE),
        batch_size=BATCH,
        is_training=True,
        color_jitter=0.0,
        num_workers=WORKERS,
        use_prefetcher=False,
        device=torch.device("cpu"),
    )
    for number, (images, _) in enumerate(loader):
        assert len(images) == BATCH
        if number == WARM_UP - 1:
            began = time.perf_counter()
        if number == WARM_UP + BATCHES - 1:
            break
    return BATCHES * BATCH / (time.perf_counter() - began)


if __name__ == "__main__":
    print(json.dumps((ours if sys.argv[1] == "ours" else timms)(Path(sys.argv[2]))), flush=True)
