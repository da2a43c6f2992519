from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from trainer.data.format import open_split
from trainer.models.build import build_model, count_flops, count_parameters
from trainer.models.pretrained import split_head
from trainer.models.swift import PATCH, WHITENING_BYTES, Swift, whitening_batch
from trainer.spec.catalog import MODELS
from trainer.spec.model_spec import ModelSpec

# Parameters of the baseline networks at 32 px and 100 classes, counted by hand from their layers.
CNN = (3 * 25 * 12 + 12 + 24) + (12 * 25 * 24 + 24 + 48) + (24 * 25 * 32 + 32 + 64)
CNN_HEAD = (1152 * 576 + 576) + (576 * 288 + 288) + (288 * 144 + 144) + (144 * 100 + 100)
MLP = (3072 * 1024 + 1024) + (1024 * 512 + 512) + (512 * 256 + 256) + (256 * 100 + 100)


@pytest.mark.parametrize(("name", "parameters"), [("cnn", CNN + CNN_HEAD), ("mlp", MLP)])
def test_the_baselines_have_the_origins_shape(name: str, parameters: int) -> None:
    model = build_model(ModelSpec.model_validate({"name": name}), 100, 32)
    assert count_parameters(model) == parameters
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 100)


def test_a_final_relu_cuts_off_negative_logits() -> None:
    torch.manual_seed(0)
    logits = build_model(ModelSpec(final_relu=True), 100, 32).eval()(torch.randn(4, 3, 32, 32))
    assert (logits >= 0).all()
    assert (logits == 0).any()


def test_images_too_small_for_the_network_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 15 px"):
        build_model(ModelSpec(), 10, 12)


def test_dropout_stands_before_each_hidden_linear_layer() -> None:
    model = build_model(ModelSpec(dropout=0.5), 100, 32)
    assert sum(isinstance(layer, torch.nn.Dropout) for layer in model.modules()) == 3


PUBLISHED = {
    # parameters with 100 classes (weiaicunzai/pytorch-cifar100; Zagoruyko & Komodakis), multiply-accumulates at 32 px
    "resnet18": (11_220_132, 0.5558e9),
    "resnet34": (21_328_292, 1.1607e9),
    "resnet50": (23_705_252, 1.3051e9),
    "wrn-16-4": (2_772_020, 0.3927e9),
    "wrn-28-10": (36_536_884, 5.2459e9),
}
IMAGENET_PARAMETERS = {  # with 1000 classes, from torchvision's documentation of its weights
    "torchvision:resnet18": 11_689_512,
    "torchvision:resnet50": 25_557_032,
    "torchvision:efficientnet_v2_s": 21_458_488,
    "torchvision:convnext_tiny": 28_589_128,
    "torchvision:mobilenet_v3_large": 5_483_032,
    "torchvision:vit_b_16": 86_567_656,
}
IMAGENET_MACS = {  # at 224 px, from the same documentation; EfficientNetV2-S's there is for 384 px
    "torchvision:resnet18": 1.814e9,
    "torchvision:resnet50": 4.089e9,
    "torchvision:convnext_tiny": 4.456e9,
    "torchvision:mobilenet_v3_large": 0.217e9,
    "torchvision:vit_b_16": 17.564e9,
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_and_operations_are_those_published(name: str) -> None:
    model = build_model(ModelSpec(name=name), 100, 32)
    parameters, macs = PUBLISHED[name]
    assert count_parameters(model) == parameters
    assert count_flops(model, 32) == pytest.approx(2 * macs, rel=0.02)


@pytest.mark.parametrize("name", IMAGENET_PARAMETERS)
def test_imagenets_networks_are_torchvisions(name: str) -> None:
    with torch.device("meta"):
        model = build_model(ModelSpec(name=name), 1000, 224)
    assert count_parameters(model) == IMAGENET_PARAMETERS[name]
    if name in IMAGENET_MACS:
        assert count_flops(model, 224) == pytest.approx(2 * IMAGENET_MACS[name], rel=0.02)


def test_resnet9_has_its_published_size() -> None:
    model = build_model(ModelSpec(name="resnet9"), 10, 32)
    assert count_parameters(model) == 6_573_120  # D. Page's network for CIFAR-10


def test_counting_operations_leaves_the_network_as_it_was() -> None:
    model = build_model(ModelSpec(name="torchvision:resnet18"), 10, 32).train()
    model.get_submodule("layer1").eval()
    modes = [module.training for module in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count_flops(model, 32)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", MODELS)
def test_every_network_takes_a_step_at_full_size(name: str) -> None:
    size = 224 if name.endswith("vit_b_16") else 32
    torch.manual_seed(0)
    model = build_model(ModelSpec(name=name), 100, size).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    logits = model(torch.randn(2, 3, size, size))
    assert logits.shape == (2, 100)
    torch.nn.functional.cross_entropy(logits, torch.tensor([1, 2])).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


HEADS = {
    "torchvision:resnet18": "fc",
    "torchvision:resnet50": "fc",
    "torchvision:efficientnet_v2_s": "classifier.1",
    "torchvision:convnext_tiny": "classifier.2",
    "torchvision:mobilenet_v3_large": "classifier.3",
    "torchvision:vit_b_16": "heads.head",
}


@pytest.mark.parametrize("name", HEADS)
def test_features_and_head_say_what_the_whole_network_says(name: str) -> None:
    size = 224 if name.endswith("vit_b_16") else 32
    torch.manual_seed(0)
    model = build_model(ModelSpec(name=name), 7, size).eval()
    backbone, head = split_head(model)
    assert head is model.get_submodule(HEADS[name])
    assert head.out_features == 7
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        features = backbone(images)
        assert features.shape == (2, head.in_features)
        assert torch.equal(head(features), model(images))
    own = set(backbone.parameters())
    assert own | set(head.parameters()) == set(model.parameters())
    assert own.isdisjoint(head.parameters())


@pytest.mark.parametrize("classes", [1000, 3])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_of_a_file_are_taken_but_for_the_head(tmp_path: Path, suffix: str, classes: int) -> None:
    name = "torchvision:mobilenet_v3_large"
    donor = build_model(ModelSpec(name=name), classes, 32).state_dict()
    path = tmp_path / f"weights{suffix}"
    safetensors.torch.save_file(donor, path) if suffix == ".safetensors" else torch.save(donor, path)
    model = build_model(ModelSpec(name=name, weights=str(path)), 7, 32, pretrained=True).state_dict()
    same = {n for n, value in model.items() if value.shape == donor[n].shape and torch.equal(value, donor[n])}
    assert model.keys() - same == {"classifier.3.weight", "classifier.3.bias"}


def test_the_names_of_an_old_file_are_understood(tmp_path: Path) -> None:
    """torchvision's ViT weights were saved when its hidden layers were named linear_1 and linear_2."""
    donor = build_model(ModelSpec(name="torchvision:vit_b_16"), 1000, 224).state_dict()
    old = {n.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): v for n, v in donor.items()}
    assert old.keys() != donor.keys()
    safetensors.torch.save_file(old, tmp_path / "vit.safetensors")
    spec = ModelSpec(name="torchvision:vit_b_16", weights=str(tmp_path / "vit.safetensors"))
    model = build_model(spec, 7, 224, pretrained=True).state_dict()
    assert all(torch.equal(value, donor[n]) for n, value in model.items() if not n.startswith("heads"))


def test_weights_of_imagenet_lie_in_torchs_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    path.parent.mkdir(parents=True)
    donor = build_model(ModelSpec(name="torchvision:resnet18"), 1000, 32).state_dict()
    torch.save({n: v for n, v in donor.items() if not n.endswith("num_batches_tracked")}, path)  # as in that file
    spec = ModelSpec(name="torchvision:resnet18", weights="imagenet")
    model = build_model(spec, 7, 32, pretrained=True)
    assert torch.equal(model.state_dict()["layer4.1.conv2.weight"], donor["layer4.1.conv2.weight"])
    path.write_bytes(b"half a downl")
    with pytest.raises(ValueError, match=r"model\.weights: those of torchvision:resnet18 could not be loaded"):
        build_model(spec, 7, 32, pretrained=True)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("torchvision:resnet50", "layer1.0.conv1.weight has another shape"),
        ("torchvision:mobilenet_v3_large", "is missing, and [0-9]+ more"),
    ],
)
def test_a_file_of_another_network_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    path = tmp_path / "weights.pth"
    torch.save(build_model(ModelSpec(name="torchvision:resnet18"), 1000, 32).state_dict(), path)
    spec = ModelSpec(name=name, weights=str(path))
    with pytest.raises(ValueError, match=rf"model\.weights: .*weights.pth is not of {name}: .*{reason}"):
        build_model(spec, 10, 32, pretrained=True)
    build_model(spec, 10, 32)  # as in a resume: the weights file is not read


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("none.pth", "there is no file"),
        ("weights.pickle", "is none of .safetensors"),
        ("text.pth", "no weights that can be read"),
        ("text.safetensors", "no weights that can be read"),
        ("list.pt", "not a plain table"),
    ],
)
def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path, file: str, reason: str) -> None:
    (tmp_path / "text.pth").write_text("text")
    (tmp_path / "text.safetensors").write_text("text")
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    spec = ModelSpec(name="torchvision:resnet18", weights=str(tmp_path / file))
    with pytest.raises(ValueError, match=rf"model\.weights: .*{reason}"):
        build_model(spec, 10, 32, pretrained=True)


def make_net(num_classes: int, image_size: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * image_size**2, num_classes))


def make_nothing(num_classes: int, image_size: int) -> int:
    return num_classes * image_size


def make_trouble(num_classes: int, image_size: int) -> nn.Module:
    raise KeyError(num_classes + image_size)


def test_a_network_of_ones_own_is_called_by_its_name() -> None:
    model = build_model(ModelSpec(name=f"{__name__}:make_net"), 5, 8)
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 5)
    for name in ("no.such.module:f", f"{__name__}:no_such", f"{__name__}:make_nothing", f"{__name__}:make_trouble"):
        with pytest.raises(ValueError, match=f"model.name: {name} "):
            build_model(ModelSpec(name=name), 5, 8)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"name": "resnet18", "final_relu": True}, "model.final_relu"),
        ({"name": "torchvision:resnet18", "widths": (8,)}, "model.widths"),
        ({"name": "torchvision:resnet18", "dropout": 0.5}, "model.dropout"),
        ({"name": f"{__name__}:make_net", "widths": (8,)}, "model.widths"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(options: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        build_model(ModelSpec.model_validate(options), 10, 32)


@pytest.mark.parametrize("size", [32, 256])
def test_the_vision_transformer_takes_one_size(size: int) -> None:
    with pytest.raises(ValueError, match="224 px"):
        build_model(ModelSpec(name="torchvision:vit_b_16"), 10, size)


@pytest.mark.parametrize(("name", "widths"), [("resnet18", (8, 8)), ("wrn-16-4", (8,)), ("resnet9", (1, 2, 3))])
def test_a_wrong_number_of_widths_is_named(name: str, widths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"model\.widths"):
        build_model(ModelSpec(name=name, widths=widths), 10, 32)


def test_the_stem_of_swift_whitens(shapes: Path) -> None:
    images, _ = open_split(shapes, "shapes100", "train")
    pixels = torch.tensor(images[:500]).permute(0, 3, 1, 2).float() / 128 - 1
    model = build_model(ModelSpec(name="swift"), 100, 32)
    assert isinstance(model, Swift)
    model.whiten(torch.split(pixels, 150))
    with torch.no_grad():
        outputs = model.stem(pixels)[:, :12].transpose(0, 1).flatten(1)
    second = outputs @ outputs.T / outputs.shape[1]
    assert (second - torch.diag(second.diagonal())).abs().max() < 0.02
    assert second.diagonal()[-4:] == pytest.approx(torch.ones(4), abs=0.1)
    assert not model.stem.weight.requires_grad
    at_once = build_model(ModelSpec(name="swift"), 100, 32)
    assert isinstance(at_once, Swift)
    at_once.whiten([pixels])
    inverse, expected = (stem.weight.flatten(1).T @ stem.weight.flatten(1) for stem in (model.stem, at_once.stem))
    torch.testing.assert_close(inverse, expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())


def test_whitening_large_images_takes_bounded_memory() -> None:
    model = build_model(ModelSpec(name="swift"), 10, 224)
    assert isinstance(model, Swift)
    sizes: list[int] = []

    def batches() -> Iterator[torch.Tensor]:
        for _ in range(3):
            images = torch.randn(whitening_batch(224), 3, 224, 224)
            sizes.append(4 * images.numel() * PATCH**2)
            yield images

    model.whiten(batches())
    assert max(sizes) <= WHITENING_BYTES
    assert whitening_batch(32) > 1000
    assert torch.isfinite(model.stem.weight).all()
