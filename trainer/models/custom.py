"""A user's own network, given as `package.module:function`."""

from __future__ import annotations

import importlib

from torch import nn


def make_custom(name: str, num_classes: int, image_size: int) -> nn.Module:
    """Return the result of `function(num_classes=..., image_size=...)`.

    Raises ValueError: the function cannot be imported, raises, or does not return a torch.nn.Module.
    """
    module_name, _, function = name.partition(":")
    try:
        model = getattr(importlib.import_module(module_name), function)(num_classes=num_classes, image_size=image_size)
    except Exception as error:  # user code may raise anything
        raise ValueError(f"model.name: {name} failed: {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise ValueError(f"model.name: {name} gave {type(model).__name__}, not a torch.nn.Module")
    return model
