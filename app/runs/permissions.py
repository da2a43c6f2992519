"""Which code and files a request may use: the custom models in the settings, and files of the weights folder."""

from __future__ import annotations

from app.settings import Settings
from trainer.spec.catalog import is_custom
from trainer.spec.model_spec import PUBLISHED
from trainer.spec.preset import SpecError
from trainer.spec.train_spec import TrainSpec


def permitted(spec: TrainSpec, settings: Settings) -> TrainSpec:
    """Return the spec with the full path of its weights file. Raises SpecError: the server does not allow it."""
    model = spec.model
    if is_custom(model.name) and model.name not in settings.custom_models:
        reason = "runs code: the server allows only models that TRACKSIDE_CUSTOM_MODELS names"
        raise SpecError({"overrides.model.name": reason})
    if model.weights in ("none", *PUBLISHED):
        return spec
    path = (settings.weights / model.weights).resolve()
    if path.parent != settings.weights.resolve() or not path.is_file():
        raise SpecError({"overrides.model.weights": f"is not a file in {settings.weights}"})
    return spec.model_copy(update={"model": model.model_copy(update={"weights": str(path)})})
