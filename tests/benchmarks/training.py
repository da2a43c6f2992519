"""Images per second of the trainer, compared with a plain PyTorch loop and with bare optimization steps."""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from tests.benchmarks.rows import Row, data_root
from trainer.data.format import open_split, read_record
from trainer.data.pixels import pixels_of
from trainer.engine.compiling import Passes
from trainer.engine.loss import batch_loss
from trainer.engine.resident import load_resident
from trainer.engine.runtime import Runtime, precision_name
from trainer.engine.trainee import make_trainee
from trainer.loop import train
from trainer.models.build import build_model
from trainer.models.device import pick_precision, prepare
from trainer.models.inputs import constants_of, network_input
from trainer.plan.decisions import recorded
from trainer.plan.execution import Execution
from trainer.plan.schedule import make_plan
from trainer.plan.steering import COMPILE_AT, Course, replay
from trainer.rundir.creation import create_run_dir
from trainer.rundir.events import EventWriter
from trainer.spec.preset import build_spec
from trainer.spec.train_spec import TrainSpec

ROUNDS = 5
STEPS = 120
WARM_UP = COMPILE_AT + 16
FEW_STEPS, FEW_WARM_UP = 30, 5  # for a slower network that is not compiled


def measure() -> list[Row]:
    root = data_root()
    name = "cifar100" if (root / "cifar100" / "dataset.json").exists() else "shapes100"
    return [*against_plain(root, name), *against_bare(root, name)]


def against_plain(root: Path, name: str) -> list[Row]:
    eager = build_spec(name, "baseline-cnn", {"log_every": 4, "precision": "float32", "compile": "off"})
    auto = build_spec(name, "baseline-cnn", {"log_every": 4})
    pictures = Pictures(root, name)
    plain: list[float] = []
    speeds: dict[str, list[float]] = {"float32 eager": [], "under `auto`": []}
    with tempfile.TemporaryDirectory() as cache:
        executed = run_speed(root, name, auto, cache=Path(cache))  # measures what is fastest, which is remembered
        for _ in range(ROUNDS):
            speeds["float32 eager"].append(run_speed(root, name, eager).images_per_second)
            speeds["under `auto`"].append(run_speed(root, name, auto, cache=Path(cache)).images_per_second)
            plain.append(max(plain_speed(pictures, eager, workers) for workers in (0, 2)))
    is_bf16 = executed.execution is not None and executed.execution.precision == "bf16"
    rows = []
    for (how, ours), mark in zip(speeds.items(), (1.2, 2.0 if is_bf16 else 1.4), strict=True):
        shown = how if how == "float32 eager" else f"{how} ({executed.described})"
        rows.append(ratio_row(f"training `baseline-cnn` on {name}, {shown}, against a plain loop", ours, plain, mark))
    return rows


def against_bare(root: Path, name: str) -> list[Row]:
    """Compare the training loop with its step on one fixed batch: the cost of shuffling, augmentation, logging and
    events. Both are executed alike."""
    quick: dict[str, Any] = {
        "budget.minutes": None,
        "epochs": 9,
        "augment.resolutions": [],
        "augment.resolution_until": [],
    }
    rows = []
    for preset, overrides, steps, warm_up in (
        ("baseline-cnn", {}, STEPS, WARM_UP),
        ("quick", {**quick, "compile": "off"}, FEW_STEPS, FEW_WARM_UP),
    ):
        spec = build_spec(name, preset, overrides)
        ours, bare = [], []
        with tempfile.TemporaryDirectory() as cache:
            for _ in range(ROUNDS):
                found = run_speed(root, name, spec, steps, warm_up, cache=Path(cache))
                ours.append(found.images_per_second)
                bare.append(bare_speed(root, spec, steps, warm_up, found))
        rows.append(ratio_row(f"loop of `{preset}` ({found.described}) against its bare step", ours, bare, 0.97))
    return rows


def ratio_row(what: str, ours: list[float], theirs: list[float], mark: float) -> Row:
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    ratio = statistics.median(ratios)
    shown = (
        f"{ratio:.2f}× (median of {len(ratios)}; {min(ratios):.2f} to {max(ratios):.2f}): "
        f"{statistics.median(ours):,.0f} against {statistics.median(theirs):,.0f} images/s"
    )
    return Row(what, f"≥ {mark:g}×", shown, ratio >= mark)


class Stopwatch(EventWriter):
    """An event writer that also records the time of the first and the last logged training step."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__(run_dir, 1)
        self.seen: dict[int, float] = {}

    def metrics(self, step: int, values: object) -> None:
        if isinstance(values, dict) and "train/loss" in values:
            self.seen[step] = time.perf_counter()
        super().metrics(step, values)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Speed:
    """Of a run, and how it was executed after the first steps; `execution` is None if nothing was measured."""

    images_per_second: float
    execution: Execution | None
    compiled: bool

    @property
    def described(self) -> str:
        return f"{self.execution or 'not tuned'}, {'compiled' if self.compiled else 'eager'}"


def run_speed(
    root: Path,
    name: str,
    spec: TrainSpec,
    steps: int = STEPS,
    warm_up: int = WARM_UP,
    device: str = "cpu",
    cache: Path | None = None,
) -> Speed:
    """Train `steps` steps after `warm_up` others. `cache`: as in `train`."""
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        create_run_dir(run_dir, spec, read_record(root, name), {})
        events = Stopwatch(run_dir)
        # Stopped after the last training step, which excludes evaluation.
        calls = 0

        def should_stop() -> bool:
            nonlocal calls
            calls += 1
            return calls > steps + warm_up - 1

        train(run_dir, root, device, 1, events, should_stop, cache)
        events.close()
        course = replay(Course(make_plan(spec, spec.batch_size)), recorded(run_dir))
    first, last = min(step for step in events.seen if step >= warm_up), max(events.seen)
    images_per_second = (last - first) * spec.batch_size / (events.seen[last] - events.seen[first])
    return Speed(images_per_second, course.execution, course.compiling)


def bare_speed(
    root: Path, spec: TrainSpec, steps: int, warm_up: int, executed: Speed, device_name: str = "cpu"
) -> float:
    """Measure forward, backward and optimizer step on one batch that is on the device, executed like another run."""
    device = prepare(device_name)
    precision = pick_precision(spec, device)
    data = load_resident(root, spec, device)
    trainee = make_trainee(spec, data, device, precision, fresh=True)
    runtime = Runtime(device, Execution(precision_name(precision), True, torch.get_num_threads()))
    if executed.execution is not None:
        runtime.change(executed.execution, trainee)
    images = network_input(data.train.images[: spec.batch_size], constants_of(pixels_of(spec, data.record), device), 32)
    images = runtime.laid_out(images)
    labels = data.train.labels[: spec.batch_size]
    passes = Passes(trainee.stepped)
    if executed.compiled:
        passes.switch(compiled=True)
    trainee.train()
    for step in range(warm_up + steps):
        if step == warm_up:
            wait_for_device(device)
            started = time.perf_counter()
        with runtime.autocast:
            loss = batch_loss(spec, passes(images), labels)
        trainee.optimizers.zero_grad()
        trainee.backward(loss)
        trainee.optimizers.step()
    wait_for_device(device)
    spent = time.perf_counter() - started
    return steps * spec.batch_size / spent


def wait_for_device(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Pictures(Dataset[tuple[Tensor, int]]):
    """Like torchvision's CIFAR100: arrays in memory, converted to a PIL image in `__getitem__`."""

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
