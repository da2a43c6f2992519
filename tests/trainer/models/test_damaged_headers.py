"""Safetensors files whose header is damaged or made up: each is refused by name, and none takes time or memory."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from trainer.data.format import Fit
from trainer.exported.portable import METADATA, Portable, PortableDamaged, plan_packing, read_portable, write_packing
from trainer.models import checkpoint
from trainer.rundir.checkpoints import CheckpointDamaged, CheckpointInfo
from trainer.rundir.folder import RunDir
from trainer.spec.model_spec import ModelSpec

FIT: Fit = "crop"


def file_of(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def tensor(dtype: str = "U8", shape: tuple[int, ...] = (4,), offsets: tuple[int, ...] = (0, 4)) -> dict[str, Any]:
    return {"model.w": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


DAMAGED = {
    "empty": b"",
    "shorter than a length": b"\1\2",
    "a length beyond its end": (1 << 62).to_bytes(8, "little") + b"{}",
    "a length of 200 MB": (200 << 20).to_bytes(8, "little") + b"{}",
    "not JSON": file_of(b"{x"),
    "not UTF-8": file_of(b'{"\xff": 1}'),
    "a list": file_of([]),
    "a number": file_of(3),
    "nested without end": file_of(b"[" * 100_000),
    "metadata that is no text": file_of({"__metadata__": {"trackside": 1, METADATA: 1}}),
    "metadata that is a list": file_of({"__metadata__": ["trackside"]}),
    "cut off": file_of(tensor(), b"ab"),
    "too long": file_of(tensor(), b"abcdefgh"),
    "offsets beyond its end": file_of(tensor(offsets=(0, 4 << 40), shape=(4 << 40,)), b"abcd"),
    "offsets that overlap the header": file_of(tensor(offsets=(-4, 0)), b"abcd"),
    "one offset": file_of(tensor(offsets=(0,)), b"abcd"),
    "a shape that overflows": file_of(tensor(shape=(1 << 62, 1 << 62)), b"abcd"),
    "an unknown type": file_of(tensor(dtype="OBJECT"), b"abcd"),
    "an entry that is a number": file_of({"model.w": 4}, b"abcd"),
}


def about(sha256: str) -> Portable:
    return Portable(
        model=ModelSpec(name="cnn"), classes=["a", "b"], superclasses=None, size=32, input_size=32, fit=FIT,
        mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2), dataset="d", target="fine", run="r", step=1, epoch=1,
        checkpoint_sha256=sha256, measured={},
    )  # fmt: skip


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_an_exported_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(PortableDamaged, match="not a safetensors file"):
        read_portable(path)


@pytest.mark.parametrize("metadata", [None, {}, {METADATA: "{}"}, {METADATA: "["}, {"trackside": "{}"}])
def test_a_sound_file_that_is_no_exported_model(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file({"w": np.zeros(3)}, path, metadata)
    with pytest.raises(PortableDamaged, match="not a model"):
        read_portable(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_portable(tmp_path / "none.safetensors")
    with pytest.raises(FileNotFoundError):
        plan_packing(tmp_path / "none.safetensors", about("0"))


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_checkpoint_to_be_exported(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "00000001.safetensors"
    path.write_bytes(content)
    with pytest.raises(PortableDamaged, match=f"{path.name} is damaged"):
        plan_packing(path, about(hashlib.sha256(content).hexdigest()))


STATELESS = {
    "no metadata": file_of(tensor(), b"abcd"),
    "metadata without a state": file_of({"__metadata__": {"format": "pt"}} | tensor(), b"abcd"),
    "a state that is not JSON": file_of({"__metadata__": {"trackside": "{"}} | tensor(), b"abcd"),
}


@pytest.mark.parametrize("content", [*DAMAGED.values(), *STATELESS.values()], ids=[*DAMAGED, *STATELESS])
def test_a_checkpoint_whose_hash_is_right(tmp_path: Path, content: bytes) -> None:
    """A program that writes a checkpoint and its sidecar may write what it likes."""
    info = checkpoint.save(tmp_path, {"model.w": torch.zeros(4)}, {}, step=1, epoch=1, metrics={}, best=True)
    RunDir(tmp_path).weights(1).write_bytes(content)
    forged = info.model_copy(update={"sha256": hashlib.sha256(content).hexdigest()})
    with pytest.raises(CheckpointDamaged, match="cannot be read"):
        checkpoint.load(tmp_path, forged)


def test_what_is_loaded_needs_the_file_no_more(tmp_path: Path) -> None:
    """A run holds its tensors for hours, and its older checkpoints are deleted meanwhile."""
    tensors = {
        "model.w": torch.arange(5000.0),
        "optim.half": torch.ones(3, dtype=torch.bfloat16),
        "rng.none": torch.empty(0),
    }
    info: CheckpointInfo = checkpoint.save(tmp_path, tensors, {"a": [1]}, step=1, epoch=1, metrics={}, best=True)
    loaded = checkpoint.load(tmp_path, info)
    path = RunDir(tmp_path).weights(1)
    assert str(path) not in Path("/proc/self/maps").read_text()
    path.write_bytes(b"\xff" * path.stat().st_size)
    assert loaded.state == {"a": [1]}
    assert loaded.tensors.keys() == tensors.keys()
    assert all(torch.equal(loaded.tensors[name], value) for name, value in tensors.items())


def test_an_exported_file_holds_the_weights_alone(tmp_path: Path) -> None:
    tensors = {"optim.m": torch.ones(3), "model.b": torch.arange(3), "model.a": torch.full((2, 2), 0.5).half()}
    info = checkpoint.save(tmp_path, tensors, {}, step=1, epoch=1, metrics={}, best=True)
    source, target = RunDir(tmp_path).weights(1), tmp_path / "model.safetensors"
    packing = plan_packing(source, about(info.sha256))
    write_packing(source, info.sha256, packing, target)
    assert target.stat().st_size == packing.size
    assert read_portable(target) == about(info.sha256)
    found = safetensors.torch.load_file(target)
    assert found.keys() == {"a", "b"}
    assert torch.equal(found["a"], tensors["model.a"])
    assert torch.equal(found["b"], tensors["model.b"])
