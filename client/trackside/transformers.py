"""A callback for Hugging Face: `Trainer(..., callbacks=[TracksideCallback()])`, with `report_to="none"`."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

import trackside

SPLITS = ("eval_", "test_")


class TracksideCallback(TrainerCallback):
    """Logs to the run of this process; begins one, with `options` for `trackside.init`, if there is none."""

    def __init__(self, **options: Any) -> None:
        self._options = options

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        if trackside.run is None:
            trackside.init(**{"name": getattr(args, "run_name", None), **self._options})
        of_model = model.config.to_dict() if hasattr(getattr(model, "config", None), "to_dict") else {}
        trackside.config.update({**of_model, **args.to_sanitized_dict()}, allow_val_change=True)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if state.is_world_process_zero and trackside.run is not None:
            trackside.log({_name(key): value for key, value in (logs or {}).items()}, step=state.global_step)


def _name(key: str) -> str:
    """The names that Trainer's other callbacks give: eval/loss, test/loss, train/loss."""
    split = next((split for split in SPLITS if key.startswith(split)), None)
    return f"{split[:-1]}/{key[len(split) :]}" if split else f"train/{key}"
