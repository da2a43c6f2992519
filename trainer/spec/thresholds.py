"""The thresholds of checks and findings."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from trainer.spec.part import FiniteFloat, Part, Share

FORMER = {"update_ratio", "slow_ratio", "flips"}


class ThresholdSpec(Part):
    """Thresholds of checks and findings. The defaults are the project's own.

    Karpathy's "A Recipe for Training Neural Networks" (2019), which the checks follow, gives few numbers.
    """

    @model_validator(mode="before")
    @classmethod
    def without_former_ones(cls, values: Any) -> Any:
        """Thresholds of rules that no longer exist may be in the specs of older runs."""
        return (
            {name: value for name, value in values.items() if name not in FORMER}
            if isinstance(values, dict)
            else values
        )

    start_loss: FiniteFloat = Field(
        0.1, gt=0, le=10, description="Share by which the initial loss may differ from the expected one."
    )
    one_batch_loss: FiniteFloat = Field(1e-3, gt=0, le=10, description="Loss at which one batch counts as learned.")
    one_batch_steps: int = Field(400, ge=1, le=100_000, description="Steps in which one batch has to be learned.")
    rise: FiniteFloat = Field(
        0.5, gt=0, le=1e6, description="Share by which the training loss rises above its start: a problem."
    )
    slow_fall: Share = Field(
        0.1, description="Share of the possible decrease that the loss has to reach by the end at its present pace."
    )
    dead_gradient: FiniteFloat = Field(
        1e-7, ge=0, le=1, description="Gradient norm below which gradients count as vanished."
    )
    dead_units: Share = Field(0.5, description="Share of a ReLU layer's units that never activate.")
    by_heart: Share = Field(0.3, description="Training accuracy above guessing, where validation has none.")
    overfit_rise: FiniteFloat = Field(
        0.05,
        gt=0,
        le=100,
        description="Share by which the validation loss rises above its best, beside 3 standard errors: overfitting.",
    )
    plateau: Share = Field(0.01, description="Share by which the training loss has to fall within some epochs.")
    patience: int = Field(3, ge=1, le=1000, description="Epochs to wait before a plateau is reported.")
