"""Features of a frozen backbone, computed once and used for training instead of the images."""

from __future__ import annotations

from dataclasses import replace

import safetensors.torch
import torch
from torch import Tensor, nn

from trainer.engine.context import Context
from trainer.engine.portions import Portions
from trainer.engine.resident import Split
from trainer.models.inputs import network_input
from trainer.models.pretrained import split_head
from trainer.rundir.folder import RunDir
from trainer.system.durable import write_durably

FEATURES = 1000  # vectors that the head takes at once


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
    cached = replace(data, train=train, val=val, test=test, streamed=False)
    return replace(context, data=cached, portions=Portions(FEATURES))


@torch.inference_mode()
def _features(context: Context, backbone: nn.Module, split: Split) -> Tensor:
    parts: list[Tensor] = []

    def add(part: slice) -> None:
        images = network_input(split.images[part].to(context.device), context.constants, context.full_size)
        with context.autocast:
            parts.append(backbone(images).float())

    context.portions.each(len(split), add)
    return torch.cat(parts)
