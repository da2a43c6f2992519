"""What tells a run from its preset or its parent: as a list of changes, and as a name made of them."""

from __future__ import annotations

from typing import Any

from trainer.spec.preset import differences
from trainer.spec.train_spec import TrainSpec


def default_name(spec: TrainSpec, base: TrainSpec, stem: str | None = None) -> str:
    """Made from what differs: `baseline-cnn lr3e-4 epochs3`."""
    words = [
        f"{field.rsplit('.', 1)[-1]}{_short(value)}"
        for field, (_, value) in differences(spec, base).items()
        if value is not None
    ]
    return " ".join([stem or spec.preset or spec.model.name, *words])[:120]


def _short(value: Any) -> str:
    if isinstance(value, float):
        text = f"{value:.1e}" if 0 < abs(value) < 0.01 else f"{value:g}"
        return text.replace(".0e", "e").replace("e-0", "e-").replace("e+0", "e")
    return "-".join(map(str, value)) if isinstance(value, list) else str(value).lower()


def changes(spec: TrainSpec, base: TrainSpec) -> list[dict[str, Any]]:
    return [{"field": field, "from": old, "to": new} for field, (old, new) in differences(spec, base).items()]
