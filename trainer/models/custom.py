"""A person's own network, named `package.module:function`."""

from __future__ import annotations

import importlib

from torch import nn


def make_custom(name: str, num_classes: int, image_size: int) -> nn.Module:
    """What `function(num_classes=..., image_size=...)` gives. Raises ValueError where there is no such network."""
    module_name, _, function = name.partition(":")
    try:
        model = getattr(importlib.import_module(module_name), function)(num_classes=num_classes, image_size=image_size)
    except Exception as error:  # a person's code may raise anything
        raise ValueError(f"model.name: {name} failed: {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise ValueError(f"model.name: {name} gave {type(model).__name__}, not a torch.nn.Module")
    return model
