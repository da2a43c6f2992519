"""timm's networks with a new head. timm is an extra, and is imported when it is used."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from trainer.models.weights import read_weights, start_small
from trainer.spec.model_spec import PUBLISHED, ModelSpec
from trainer.spec.timm_models import INSTALL, TIMM, known_version, timm_is_missing, timm_model


def make_timm(spec: ModelSpec, num_classes: int, image_size: int, *, pretrained: bool) -> nn.Module:
    """Return timm's network with a head of `num_classes` outputs.

    `pretrained` loads the weights that `spec` names: timm's own, by download or from Hugging Face's cache, or a file.
    Raises ValueError: timm is missing or does not have the network, the image size does not fit, or the weights cannot
    be loaded or do not fit.
    """
    if timm_is_missing():
        raise ValueError(f"model.name: {INSTALL}")
    known = timm_model(spec.name)
    if image_size < known.smallest or (known.fixed and image_size != known.size):
        sizes = "only" if known.fixed else "and more"
        raise ValueError(f"model.input_size: {spec.name} takes images of {known.smallest} px {sizes}")
    model = _create(spec, num_classes, drop_rate=spec.dropout or None, drop_path_rate=spec.drop_path or None)
    if pretrained and spec.weights != "none":
        _copy_body(_with_weights(spec), model)
        for head in _heads(model):
            start_small(model.get_submodule(head))
    return model


def _create(spec: ModelSpec, num_classes: int, **options: Any) -> nn.Module:
    import timm

    try:
        model: nn.Module = timm.create_model(spec.name.removeprefix(TIMM), num_classes=num_classes, **options)
    except TypeError as error:
        raise ValueError(f"model.name: {spec.name} does not take an option that is set: {error}") from error
    except RuntimeError as error:
        if "Unknown model" not in str(error) and "Invalid pretrained tag" not in str(error):
            raise
        raise ValueError(f"model.name: timm {timm.__version__} has no {spec.name}; {known_version()} has") from error
    return model


def _with_weights(spec: ModelSpec) -> nn.Module:
    """The network as it was published, head included, so that all of the weights have to fit. timm translates older
    files' names of parameters."""
    import timm

    untrained = _create(spec, 1)
    published = int(_config(untrained)["num_classes"])
    name = spec.name.removeprefix(TIMM)
    if spec.weights in PUBLISHED:
        try:
            model: nn.Module = timm.create_model(name, pretrained=True, num_classes=published)
        except Exception as error:  # no network connection, or anything that a download raises
            raise ValueError(
                f"model.weights: those of {spec.name} could not be loaded: {type(error).__name__}: {error}"[:600]
            ) from error
        return model
    weights = read_weights(spec)
    problem: Exception | None = None
    for classes in _class_counts(weights, _heads(untrained), published):
        overlay = {"state_dict": dict(weights), "num_classes": classes, "custom_load": False}
        try:
            fitting: nn.Module = timm.create_model(
                name, pretrained=True, num_classes=classes, pretrained_cfg_overlay=overlay
            )
        except Exception as error:  # noqa: BLE001  a translation of names may raise anything
            problem = error
        else:
            return fitting
    reason = str(problem).partition(":\n\t")[2].partition("\n")[0] or str(problem)
    raise ValueError(f"model.weights: {spec.weights} is not of {spec.name}: {reason}"[:600]) from problem


def _class_counts(weights: dict[str, Tensor], heads: tuple[str, ...], published: int) -> list[int]:
    """How many classes the weights may be of. The head is replaced, so any number will do."""
    found = [len(weights[f"{name}.weight"]) for name in heads if f"{name}.weight" in weights]
    return found[:1] or [published, 0]


def _config(model: nn.Module) -> dict[str, Any]:
    found: dict[str, Any] = vars(model)["pretrained_cfg"]
    return found


def _heads(model: nn.Module) -> tuple[str, ...]:
    """The paths of a network's classifiers."""
    named = _config(model).get("classifier") or ()
    return (named,) if isinstance(named, str) else tuple(named)


def _copy_body(source: nn.Module, target: nn.Module) -> None:
    """Copy all weights but those of the head."""
    heads = tuple(f"{head}." for head in _heads(target))
    own, found = target.state_dict(), source.state_dict()
    target.load_state_dict(own | {name: found[name] for name in own if not name.startswith(heads)})
