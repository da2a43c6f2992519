"""What only a GPU can show: its results equal the CPU's, its random state is restored, its errors are explained."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import NARROW
from tests.gpu.cases import EAGER, ONE_SIZE, Case, Watcher, series, train_case, train_through
from tests.gpu.setup import is_dry_run
from trainer.data.pixels import pixels_of
from trainer.engine.augment import draw_epoch, mix, place
from trainer.engine.batches import Batches
from trainer.engine.context import Context
from trainer.engine.portions import Portions
from trainer.engine.resident import load_resident
from trainer.engine.runtime import Runtime
from trainer.errors import explain
from trainer.models import checkpoint
from trainer.models.device import DATA_LIMIT, free_memory
from trainer.models.inputs import constants_of
from trainer.plan.decisions import recorded
from trainer.plan.execution import Execution
from trainer.rundir.checkpoints import list_checkpoints
from trainer.rundir.events import EventWriter
from trainer.spec.augment_spec import AugmentSpec
from trainer.spec.preset import build_spec

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(600),  # the step of `make gpu` has a limit of its own
    pytest.mark.filterwarnings("default::DeprecationWarning"),  # which other versions of PyTorch give
]

CPU = torch.device("cpu")
AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "flip and crop": {"flip": True, "crop": 4},
    "zero padding": {"crop": 4, "padding": "zero"},
    "cutout": {"cutout": 8},
    "TrivialAugment": {"trivial": True},
    "mixup and cutmix": {"mixup": 0.2, "cutmix": 1.0},
    "RandAugment": {"randaugment": 2},
    "resized crop": {"resized_crop": 0.2, "flip": True, "vertical_flip": True},
    "rotation": {"rotation": 30},
    "color jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
    "blur": {"blur": 0.5},
}
# These compute in floats: where a pixel lies between two, or a level halfway between two, either may be taken.
FLOATS = ("TrivialAugment", "RandAugment", "resized crop", "rotation", "color jitter", "blur")
DIFFERENT_PIXELS = dict.fromkeys(FLOATS, 0.01)


def augmented(spec: AugmentSpec, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Return the same 64 images, uint8 and mixed, both on the CPU."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (64, 32, 32, 3), generator=generator).to(torch.uint8).to(device)
    draws = draw_epoch(spec, len(images), 3, 7, device, 32, 32)
    chosen, fill = torch.arange(64, device=device), torch.tensor([120, 110, 100], dtype=torch.uint8, device=device)
    placed = place(spec, images, chosen, draws, chosen, fill=fill, size=32, drawn=torch.arange(64))
    floats = placed.permute(0, 3, 1, 2).float()
    mixed = mix(spec, floats, torch.arange(64, device=device), draws, chosen)
    return placed.cpu(), None if mixed is None else mixed.images.cpu()


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentation_equals_the_cpus(name: str, gpu: torch.device, computed: Callable[[], None]) -> None:
    spec = AugmentSpec(**AUGMENTATIONS[name])
    (placed, mixed), (expected, expected_mixed) = augmented(spec, gpu), augmented(spec, CPU)
    computed()
    different = (placed != expected).any(3).float().mean().item()
    assert different <= DIFFERENT_PIXELS.get(name, 0)
    if expected_mixed is not None:
        assert mixed is not None
        torch.testing.assert_close(mixed, expected_mixed)


def batches(folder: Path, datasets: Path, device: torch.device) -> list[Tensor]:
    """Return images, labels and positions of some batches of two epochs."""
    overrides = {"augment.flip": True, "augment.crop": 4, "augment.trivial": True, "batch_size": 50}
    spec = build_spec("shapes100", "baseline-cnn", overrides)
    data = load_resident(datasets, spec, device)
    runtime = Runtime(device, Execution("float32", True, 1))
    events = EventWriter(folder, 1)
    constants = constants_of(pixels_of(spec, data.record), device)
    context = Context(folder, events, spec, device, data, constants, runtime, Portions.of(device, 32))
    made = Batches(context, spec.batch_size)
    found: list[Tensor] = []
    for epoch, position in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]:
        images, labels, _, chosen = made.take(epoch, position)
        found += [images.cpu(), labels.cpu(), chosen.cpu()]
    events.close()
    return found


def test_streamed_images_equal_resident_ones(
    tmp_path: Path, shapes: Path, gpu: torch.device, computed: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = batches(tmp_path, shapes, gpu)
    monkeypatch.setenv(DATA_LIMIT, "1")
    streamed = batches(tmp_path, shapes, gpu)
    computed()
    assert all(torch.equal(*pair) for pair in zip(resident, streamed, strict=True))


def test_the_random_state_is_restored_on_resume(tmp_path: Path, shapes: Path, gpu: torch.device) -> None:
    case = Case("resumed", {**NARROW, **EAGER, "model.dropout": 0.3, "max_steps": 40}, device=str(gpu))
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert train_case(whole, shapes, case) == "finished"
    torch.cuda.manual_seed(99)  # what another run leaves behind
    resumed = Case("resumed", case.overrides, device=str(gpu), stop_at=20)
    assert train_case(stopped, shapes, resumed) == "finished"
    states = []
    for folder in (whole, stopped):
        (*_, last) = list_checkpoints(folder)
        assert last.step == 40
        states.append(checkpoint.load(folder, last).tensors["rng.cuda"])
    assert torch.equal(*states)
    torch.cuda.manual_seed(0)
    assert not torch.equal(states[0], torch.cuda.get_rng_state(gpu))  # dropout has drawn from it


@pytest.fixture
def little_memory(gpu: torch.device) -> Iterator[None]:
    """A GPU on which this process may use 256 MiB."""
    free_memory()
    torch.cuda.set_per_process_memory_fraction((256 << 20) / torch.cuda.mem_get_info(gpu)[1], gpu)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0, gpu)
    free_memory()


@pytest.mark.usefixtures("little_memory")
def test_out_of_memory_is_told_in_words(tmp_path: Path, shapes: Path, gpu: torch.device) -> None:
    large = {**EAGER, "model.name": "resnet18", "model.input_size": 224, "batch_size": 64, "max_steps": 2}
    with pytest.raises(RuntimeError) as raised:
        train_through(tmp_path / "large", shapes, Case("large", large, device=str(gpu)), Watcher())
    told = explain(raised.value)
    assert told["code"] == "out_of_memory", told
    assert "batch_size" in told["message"]


def test_compiled_swift_has_no_nan(
    tmp_path: Path, shapes: Path, gpu: torch.device, computed: Callable[[], None]
) -> None:
    """Steps before and after the pass is compiled. With `amax` in the head the loss was NaN from there on."""
    small = {"model.widths": [8, 16, 16]} if is_dry_run() else {}
    overrides = {
        **small,
        **ONE_SIZE,
        "epochs": 9,
        "max_steps": 120,
        "batch_size": 128,
        "compile": "on",
        "checks": "off",
    }
    folder = tmp_path / "quick"
    assert train_case(folder, shapes, Case("quick", overrides, "quick", device=str(gpu))) == "finished"
    assert [made.values["on"] for made in recorded(folder) if made.kind == "compile"] == [True]  # not given up
    losses = series(folder, "train/loss")
    assert len(losses) == 120
    computed()
    assert all(map(math.isfinite, losses))
    assert min(losses[-20:]) < losses[0]
