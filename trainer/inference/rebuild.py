"""Load a classifier from an exported model (trainer/exported/portable.py), without its run or dataset."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from trainer.exported.labels import Labels
from trainer.exported.portable import Portable, PortableDamaged, read_portable
from trainer.inference.classifier import Classifier
from trainer.models.build import build_model
from trainer.models.inputs import constants_of
from trainer.spec.catalog import is_custom


def open_file(path: Path, device: torch.device, custom_models: Collection[str] = ()) -> tuple[Classifier, Portable]:
    """Return the classifier and the file's description, which says how images are fitted.

    A custom network is a function that would be imported: it must be in `custom_models`.
    Raises PortableDamaged, OSError.
    """
    about = read_portable(path)
    if is_custom(about.model.name) and about.model.name not in custom_models:
        raise PortableDamaged(f"{path.name} needs {about.model.name}, which is not among the allowed custom_models")
    try:
        model = build_model(about.model, len(about.classes), about.input_size)
        model.load_state_dict(safetensors.torch.load_file(path))
    except (safetensors.SafetensorError, RuntimeError, ValueError, KeyError) as error:
        raise PortableDamaged(f"{path.name}: {error}") from error
    model.to(device).to(memory_format=torch.channels_last)
    constants = constants_of(about.pixels, device)
    labels = Labels(about.classes, about.superclasses)
    classifier = Classifier(
        about.step, about.epoch, about.checkpoint_sha256, labels, model.eval(), constants, about.input_size, device,
        temperature=about.temperature,
    )  # fmt: skip
    return classifier, about
