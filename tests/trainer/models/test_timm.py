"""timm's networks: the same answers as timm's own, weights from a file or Hugging Face's cache, exact resume."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from timm.models import get_pretrained_cfg, list_models
from timm.optim._param_groups import param_groups_layer_decay
from torch import nn
from torchvision.models import get_model_weights

from tests.conftest import FIXED
from trainer.data.format import read_record
from trainer.engine.optim import Optimizers
from trainer.loop import Outcome, train
from trainer.models import checkpoint
from trainer.models.build import build_model, count_flops
from trainer.models.inputs import constants_of, network_input
from trainer.models.pretrained import split_head
from trainer.plan.prepared import completed, prepared, weights_pixels
from trainer.rundir.checkpoints import list_checkpoints
from trainer.rundir.creation import create_run_dir
from trainer.rundir.events import EventWriter
from trainer.spec.catalog import MODELS, pixels_of_weights
from trainer.spec.model_spec import ModelSpec
from trainer.spec.optimizer_spec import OptimizerSpec
from trainer.spec.preset import SpecError, build_spec
from trainer.spec.timm_models import INSTALL, known_version, timm_models

# Ten families. Networks of one size are tried at theirs.
FAMILIES = {
    "resnet10t": 64,
    "convnext_atto": 64,
    "vit_tiny_patch16_224": 224,
    "tf_efficientnet_lite0": 64,
    "mobilenetv3_small_050": 64,
    "regnetx_002": 64,
    "densenet121": 64,
    "mixer_s32_224": 224,
    "xcit_nano_12_p16_224": 224,
    "levit_128s": 224,
}


@pytest.mark.parametrize(("name", "size"), FAMILIES.items())
def test_a_network_answers_as_timms_own_does(name: str, size: int) -> None:
    torch.manual_seed(0)
    own = timm.create_model(name, num_classes=7).eval()
    model = build_model(ModelSpec(name=f"timm:{name}"), 7, size).eval()
    model.load_state_dict(own.state_dict())
    images = torch.randn(4, 3, size, size)
    with torch.no_grad():
        assert torch.equal(model(images), own(images))


def test_a_head_is_split_off_and_operations_are_counted() -> None:
    model = build_model(ModelSpec(name="timm:convnext_atto"), 7, 64).eval()
    backbone, head = split_head(model)
    images = torch.randn(2, 3, 64, 64)
    assert head is model.get_submodule("head.fc")
    assert torch.equal(head(backbone(images)), model(images))
    # A class token is a parameter that enters a layer as its input.
    assert count_flops(build_model(ModelSpec(name="timm:xcit_nano_12_p16_224"), 7, 224), 224) > 1e8


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("classes", [1000, 3])
def test_weights_of_a_file_are_taken_but_for_the_head(tmp_path: Path, suffix: str, classes: int) -> None:
    donor = timm.create_model("mobilenetv3_small_050", num_classes=classes).state_dict()
    path = tmp_path / f"weights{suffix}"
    safetensors.torch.save_file(donor, path) if suffix == ".safetensors" else torch.save(donor, path)
    model = build_model(ModelSpec(name="timm:mobilenetv3_small_050", weights=str(path)), 7, 64, pretrained=True)
    own = model.state_dict()
    same = {n for n, value in own.items() if value.shape == donor[n].shape and torch.equal(value, donor[n])}
    assert own.keys() - same == {"classifier.weight", "classifier.bias"}
    assert float(own["classifier.weight"].abs().max()) < 0.01  # the new head starts small


def test_an_old_files_names_are_translated_and_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    donor = timm.create_model("repvgg_a0").state_dict()
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(donor, path)
    for name in ("timm:resnet10t", "timm:mobilenetv3_small_050"):
        with pytest.raises(ValueError, match=rf"model\.weights: .*weights.safetensors is not of {name}"):
            build_model(ModelSpec(name=name, weights=str(path)), 7, 64, pretrained=True)
    own = timm.create_model("convnext_atto").state_dict()
    facebook = {n.replace("head.norm.", "norm.").replace("head.fc.", "head."): v for n, v in own.items()}
    facebook = {n.replace("stem.", "downsample_layers.0."): v for n, v in facebook.items()}
    safetensors.torch.save_file({n: v.contiguous() for n, v in facebook.items()}, path)
    model = build_model(ModelSpec(name="timm:convnext_atto", weights=str(path)), 7, 64, pretrained=True)
    assert torch.equal(model.get_submodule("stem.0").weight, own["stem.0.weight"])  # type: ignore[arg-type]


HUB = """
import sys, torch
from trainer.models.build import build_model
from trainer.spec.model_spec import ModelSpec
model = build_model(ModelSpec(name="timm:resnet10t", weights="pretrained"), 7, 64, pretrained=True)
print(float(model.get_submodule("layer4.0.conv1").weight.detach().sum()), model.fc.weight.shape[0])
"""


def test_published_weights_come_from_hugging_faces_cache(tmp_path: Path) -> None:
    """Without a network connection: what was downloaded before is found, and what was not is a clear refusal."""
    donor = timm.create_model("resnet10t")
    assert isinstance(donor, nn.Module)
    folder = tmp_path / "hub" / "models--timm--resnet10t.c3_in1k"
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    safetensors.torch.save_file(donor.state_dict(), folder / "snapshots" / "abc" / "model.safetensors")
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", HUB], env=environment, capture_output=True, text=True, timeout=120)
    total, classes = done.stdout.split()
    assert float(total) == pytest.approx(float(donor.get_submodule("layer4.0.conv1").weight.detach().sum()))  # type: ignore[operator]
    assert classes == "7"
    environment["HF_HOME"] = str(tmp_path / "empty")
    done = subprocess.run([sys.executable, "-c", HUB], env=environment, capture_output=True, text=True, timeout=120)
    assert "model.weights: those of timm:resnet10t could not be loaded" in done.stderr


@pytest.mark.parametrize(
    ("settings", "field", "reason"),
    [
        ({"name": "timm:resnet18x"}, "model.name", "did you mean resnet18"),
        ({"name": "timm:resnet18.none_such"}, "model.name", "has no weights none_such of resnet18; there are a1_in1k"),
        ({"name": "timm:resnet18.a1_in1k"}, "model.weights", "set model.weights to pretrained"),
        ({"name": "timm:mixer_s32_224", "weights": "pretrained"}, "model.weights", "timm has no weights"),
        ({"name": "timm:resnet18", "drop_path": 0.1, "input_size": 16}, "model.input_size", "at least 32 px"),
        ({"name": "timm:densenet121", "drop_path": 0.1}, "model.drop_path", "has no stochastic depth"),
        ({"name": "timm:vit_tiny_patch16_224", "input_size": 96}, "model.input_size", "224 px only"),
        ({"name": "timm:levit_128s", "weights": "pretrained", "freeze": True}, "model.freeze", "no single linear head"),
        ({"name": "resnet18", "drop_path": 0.1}, "model.drop_path", "only timm"),
        ({"name": "timm:resnet18", "widths": [8]}, "model.widths", "no widths"),
    ],
)
def test_what_cannot_be_is_refused_before_queueing(shapes: Path, settings: dict, field: str, reason: str) -> None:  # type: ignore[type-arg]
    overrides = {f"model.{name}": value for name, value in settings.items()}
    with pytest.raises(SpecError) as refused:
        prepared("shapes100", "resnet18", overrides, shapes)
    assert reason in refused.value.fields[f"overrides.{field}"]


def test_without_the_extra_it_is_said_what_to_install(shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(SpecError) as refused:
        prepared("shapes100", "resnet18", {"model.name": "timm:resnet10t"}, shapes)
    assert refused.value.fields == {"overrides.model.name": INSTALL}


def test_the_weights_own_size_and_normalization_are_pinned(shapes: Path) -> None:
    chosen = {"model.name": "timm:tf_efficientnet_lite0", "model.weights": "pretrained"}
    ready = prepared("shapes100", "resnet18", chosen, shapes)
    assert ready.spec.model.name == "timm:tf_efficientnet_lite0.in1k"
    assert ready.spec.model.input_size == 224
    assert ready.spec.dataset.pixels is not None
    assert ready.spec.dataset.pixels.mean == (0.5, 0.5, 0.5)
    assert ready.spec.dataset.pixels.interpolation == "bicubic"
    small = prepared("shapes100", "resnet18", {**chosen, "model.input_size": 64}, shapes)
    assert small.spec.model.input_size == 64
    own = prepared("shapes100", "resnet18", {**chosen, "model.normalization": "dataset"}, shapes)
    assert own.spec.dataset.pixels is None
    scratch = prepared("shapes100", "resnet18", {"model.name": "timm:resnet10t"}, shapes)
    assert (scratch.spec.dataset.pixels, scratch.spec.model.input_size) == (None, 0)
    assert completed(ModelSpec(name="timm:vit_tiny_patch16_224")).input_size == 224
    assert weights_pixels(ModelSpec()) is None


@pytest.mark.parametrize("name", [name for name in MODELS if name.startswith("torchvision:")])
def test_torchvisions_weights_are_normalized_as_torchvision_does(name: str) -> None:
    transforms = get_model_weights(name.removeprefix("torchvision:"))["DEFAULT"].transforms()
    found = pixels_of_weights(name)
    assert found is not None
    mean, std, interpolation = found
    assert (list(mean), list(std)) == (transforms.mean, transforms.std)
    assert interpolation == transforms.interpolation.value


def test_images_are_resized_as_the_weights_were_trained() -> None:
    pixels = weights_pixels(ModelSpec(name="timm:tf_efficientnet_lite0", weights="pretrained"))
    assert pixels is not None
    images = torch.randint(0, 256, (2, 40, 40, 3), dtype=torch.uint8)
    found = network_input(images, constants_of(pixels, torch.device("cpu")), 64)
    floats = (images.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    expected = nn.functional.interpolate(floats, (64, 64), mode="bicubic", antialias=True)
    assert torch.allclose(found, expected, atol=1e-5)


def test_layers_train_at_decaying_rates_and_the_head_at_its_own() -> None:
    model = build_model(ModelSpec(name="timm:vit_tiny_patch16_224"), 7, 224)
    spec = OptimizerSpec(name="adamw", lr=1e-3, head_lr=0.01, layer_decay=0.8, weight_decay=0.05, decay_norms=False)
    head = model.get_submodule("head")
    optimizers = Optimizers(spec, model, torch.device("cpu"))
    optimizers.set_rate(5e-4)  # half of the highest
    rates = {id(p): group["lr"] for o in optimizers.all for group in o.param_groups for p in group["params"]}
    expected = {
        group["params"][0]: 0.5e-3 * group["lr_scale"] for group in param_groups_layer_decay(model, layer_decay=0.8)
    }  # timm's own
    for parameter, rate in expected.items():
        if not any(parameter is own for own in head.parameters()):
            assert rates[id(parameter)] == pytest.approx(rate)
    assert [rates[id(own)] for own in head.parameters()] == [pytest.approx(0.005)] * 2
    assert len(rates) == sum(1 for _ in model.parameters())


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path, shapes: Path) -> None:
    overrides = {**FIXED, "model.name": "timm:mobilenetv3_small_050", "model.dropout": 0.1, "model.drop_path": 0.1,
                 "checks": "off", "max_steps": 8, "batch_size": 32, "augment.flip": True}  # fmt: skip
    finals = []
    for name, stops in (("whole", ()), ("parts", (3, 5))):
        folder = tmp_path / name
        spec = prepared("shapes100", "resnet18", overrides, shapes).spec
        create_run_dir(folder, spec, read_record(shapes, "shapes100"), {})
        for attempt, stop in enumerate((*stops, None), start=1):
            outcome = trained(folder, shapes, attempt, stop)
        assert outcome.reason == "finished"
        finals.append(checkpoint.load(folder, list_checkpoints(folder)[-1]).tensors)
    whole, parts = finals
    assert all(torch.equal(value, parts[name]) for name, value in whole.items() if name.startswith("model."))


def trained(folder: Path, datasets: Path, attempt: int, stop_at: int | None) -> Outcome:
    events = EventWriter(folder, attempt)
    asked = iter(range(1_000_000))
    outcome = train(folder, datasets, "cpu", attempt, events, lambda: stop_at is not None and next(asked) >= stop_at)
    events.close()
    return outcome


def test_the_table_is_that_of_timm() -> None:
    assert known_version() == timm.__version__
    table = timm_models()
    assert len(table) > 0.9 * len(list_models())
    for name in FAMILIES:
        known, own = table[name], get_pretrained_cfg(name)
        assert own is not None
        default = known.weights.get(known.default or "")
        assert default is None or (default.mean, default.std, default.size) == (own.mean, own.std, own.input_size[1])


def test_the_presets_of_old_specs_still_mean_the_same() -> None:
    spec = build_spec("x", "transfer")
    assert spec.model.weights == "pretrained"
    assert ModelSpec(name="torchvision:resnet18", weights="imagenet").weights == "imagenet"
