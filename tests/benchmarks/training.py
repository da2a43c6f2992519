"""Images a second of `baseline-cnn` in the product's loop against the plain loop that people write."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from tests.benchmarks.rows import Row, data_root
from trainer.data.format import open_split, read_record
from trainer.events import EventWriter
from trainer.loop import train
from trainer.models import build_model
from trainer.preset import build_spec
from trainer.rundir import create_run_dir
from trainer.spec import TrainSpec

ROUNDS = 5
STEPS = 120
WARM_UP = 20


def measure() -> list[Row]:
    root = data_root()
    name = "cifar100" if (root / "cifar100" / "dataset.json").exists() else "shapes100"
    spec = build_spec(name, "baseline-cnn", {"max_steps": STEPS + WARM_UP, "precision": "float32", "log_every": 4})
    pictures = Pictures(root, name)
    ours, plain = [], []
    for _ in range(ROUNDS):
        ours.append(product_speed(root, name, spec))
        plain.append(max(plain_speed(pictures, spec, workers) for workers in (0, 2)))
    ratios = [mine / theirs for mine, theirs in zip(ours, plain, strict=True)]
    ratio = statistics.median(ratios)
    shown = (
        f"{ratio:.2f}× (median of {ROUNDS}; {min(ratios):.2f} to {max(ratios):.2f}): "
        f"{statistics.median(ours):,.0f} against {statistics.median(plain):,.0f} images/s"
    )
    what = f"training `baseline-cnn` on {name}, float32 eager, against a plain loop"
    return [Row(what, "≥ 1.2×", shown, ratio >= 1.2)]


class Stopwatch(EventWriter):
    """The product's events, with the time of the first and last logged step of training."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__(run_dir, 1)
        self.seen: dict[int, float] = {}

    def metrics(self, step: int, values: object) -> None:
        if isinstance(values, dict) and "train/loss" in values:
            self.seen[step] = time.perf_counter()
        super().metrics(step, values)  # type: ignore[arg-type]


def product_speed(root: Path, name: str, spec: TrainSpec) -> float:
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        create_run_dir(run_dir, spec, read_record(root, name), {})
        events = Stopwatch(run_dir)
        # Stopped when all is trained: evaluation is left out.
        calls = 0

        def should_stop() -> bool:
            nonlocal calls
            calls += 1
            return calls > STEPS + WARM_UP - 1

        train(run_dir, root, "cpu", 1, events, should_stop)
        events.close()
    first, last = WARM_UP, max(events.seen)
    return (last - first) * spec.batch_size / (events.seen[last] - events.seen[first])


class Pictures(Dataset[tuple[Tensor, int]]):
    """As torchvision's CIFAR100: arrays in memory, a PIL image made of each when it is asked for."""

    def __init__(self, root: Path, name: str) -> None:
        images, labels = open_split(root, name, "train")
        record = read_record(root, name)
        self.images, self.labels = np.array(images), labels.tolist()
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(record.mean, record.std)])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def plain_speed(pictures: Pictures, spec: TrainSpec, workers: int) -> float:
    torch.manual_seed(0)
    model = build_model(spec.model, 100, 32)
    optimizer = torch.optim.Adam(model.parameters(), lr=spec.optimizer.lr)
    criterion = nn.CrossEntropyLoss()
    loader = DataLoader(pictures, batch_size=spec.batch_size, shuffle=True, num_workers=workers)
    model.train()
    started = time.perf_counter()
    running_loss = running_acc = 0.0
    for step, (images, labels) in enumerate(loader):
        if step == WARM_UP:
            started = time.perf_counter()
        if step == STEPS + WARM_UP:
            break
        optimizer.zero_grad()
        outputs = model(images)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
        running_acc += (outputs.argmax(1) == labels).float().mean().item()
    return STEPS * spec.batch_size / (time.perf_counter() - started)
