"""A frozen backbone's features, computed once and trained on in place of the images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from trainer.engine.resident import ResidentData, Split
from trainer.models.inputs import network_input
from trainer.models.pretrained import split_head
from trainer.rundir.folder import RunDir
from trainer.spec.train_spec import TrainSpec
from trainer.system.durable import write_durably

BATCH = 50


def with_cached_features(
    run_dir: Path,
    spec: TrainSpec,
    model: nn.Module,
    data: ResidentData,
    constants: tuple[Tensor, Tensor],
    autocast: torch.autocast,
) -> ResidentData:
    """The data with features float32 N×F in place of images; kept in the run's folder, so that a resume has them."""
    path = RunDir(run_dir).features
    if path.exists():
        found = safetensors.torch.load_file(path)
    else:
        backbone = split_head(model)[0].eval()
        size = spec.model.input_size or data.record.size
        found = {
            name: _features(backbone, split, constants, autocast, size)
            for name, split in (("train", data.train), ("test", data.test))
        }
        write_durably(path, safetensors.torch.save({name: value.cpu() for name, value in found.items()}))
    device = data.train.labels.device
    return replace(
        data,
        train=replace(data.train, images=found["train"].to(device)),
        test=replace(data.test, images=found["test"].to(device)),
        streamed=False,
    )


@torch.inference_mode()
def _features(
    backbone: nn.Module, split: Split, constants: tuple[Tensor, Tensor], autocast: torch.autocast, size: int
) -> Tensor:
    device = split.labels.device
    parts = []
    for start in range(0, len(split), BATCH):
        images = network_input(split.images[start : start + BATCH].to(device), constants, size)
        with autocast:
            parts.append(backbone(images).float())
    return torch.cat(parts)
