"""Features of a frozen backbone, computed once and used for training instead of the images."""

from __future__ import annotations

from dataclasses import replace

import safetensors.torch
import torch
from torch import Tensor, nn

from trainer.engine.context import Context
from trainer.engine.resident import Split
from trainer.models.inputs import network_input
from trainer.models.pretrained import split_head
from trainer.rundir.folder import RunDir
from trainer.system.durable import write_durably

BATCH = 50


def with_cached_features(context: Context, model: nn.Module) -> Context:
    """Replace the images by the backbone's features, float32 N×F. They are stored in the run directory for a resume."""
    data = context.data
    path = RunDir(context.run_dir).features
    if path.exists():
        found = safetensors.torch.load_file(path)
    else:
        backbone = split_head(model)[0].eval()
        splits = {"train": data.train, "test": data.test}
        if data.val is not data.train:
            splits["val"] = data.val
        found = {name: _features(context, backbone, split) for name, split in splits.items()}
        write_durably(path, safetensors.torch.save({name: value.cpu() for name, value in found.items()}))
    train = replace(data.train, images=found["train"].to(context.device))
    val = train if data.val is data.train else replace(data.val, images=found["val"].to(context.device))
    test = replace(data.test, images=found["test"].to(context.device))
    return replace(context, data=replace(data, train=train, val=val, test=test, streamed=False))


@torch.inference_mode()
def _features(context: Context, backbone: nn.Module, split: Split) -> Tensor:
    parts = []
    for start in range(0, len(split), BATCH):
        raw = split.images[start : start + BATCH].to(context.device)
        images = network_input(raw, context.constants, context.full_size)
        with context.autocast:
            parts.append(backbone(images).float())
    return torch.cat(parts)
