"""The settings of the optimizer and of its learning rate over a run."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import Field, model_validator

from trainer.spec.part import FiniteFloat, Part, Share, impossible

ScheduleName = Literal["constant", "cosine", "linear", "one_cycle", "multi_step", "trapezoid", "range_test"]


class OptimizerSpec(Part):
    name: Literal["adam", "adamw", "sgd", "muon"] = Field(
        "adam", description="Update rule; Adam forgives a poor rate, Muon (orthogonal steps on filters) learns fastest."
    )
    lr: FiniteFloat = Field(1e-3, gt=0, le=10, description="Learning rate: the first thing to tune, on a log scale.")
    weight_decay: FiniteFloat = Field(
        0.0, ge=0, le=1, description="Pulls weights towards zero; try 5e-4 when overfitting."
    )
    decay_norms: bool = Field(True, description="Weight decay on biases and normalization layers as well.")
    momentum: FiniteFloat = Field(0.9, ge=0, lt=1, description="SGD and Muon: how much of the last step is kept.")
    nesterov: bool = Field(False, description="SGD only: look ahead along the momentum; Muon always does.")
    rest: Literal["sgd", "adamw"] = Field("sgd", description="Muon only: optimizer of biases, norms and the head.")
    rest_lr: FiniteFloat = Field(0.05, gt=0, le=10, description="Muon only: learning rate of the auxiliary optimizer.")
    head_lr: FiniteFloat = Field(
        0.0,
        ge=0,
        le=10,
        description="Learning rate of the last linear layer, which starts anew; 0 takes the one above.",
    )
    layer_decay: FiniteFloat = Field(
        1.0,
        gt=0,
        le=1,
        description="timm's networks: each layer below the head trains with this share of the rate of the one above; "
        "0.65 to 0.9 to fine-tune transformers.",
    )
    clip_norm: FiniteFloat = Field(
        0.0, ge=0, le=1e6, description="Scales gradients down to this norm where they are larger; 0 never."
    )
    ema: FiniteFloat = Field(
        0.0, ge=0, lt=1, description="Decay of a running mean of the weights, which is what is evaluated; 0 keeps none."
    )

    @model_validator(mode="after")
    def parts_fit_together(self) -> OptimizerSpec:
        if self.nesterov and self.momentum == 0:
            raise impossible("nesterov needs a momentum above 0", "optimizer.nesterov", "optimizer.momentum")
        for field, is_set in (("head_lr", self.head_lr > 0), ("layer_decay", self.layer_decay < 1)):
            if is_set and self.name == "muon":
                raise impossible(
                    "Muon has rates of its own: choose another optimizer", f"optimizer.{field}", "optimizer.name"
                )
        return self


class ScheduleSpec(Part):
    """How the learning rate changes over a run. Independent of the unit of the run's length."""

    name: ScheduleName = Field(
        "constant",
        description="How the rate moves: cosine and linear fall to the end, one-cycle rises first, trapezoid holds, "
        "then falls, multi-step drops at milestones; range-test rises until training breaks.",
    )
    warmup_epochs: FiniteFloat = Field(0.0, ge=0, le=1000, description="Epochs over which the rate rises from zero.")
    peak: Share = Field(0.3, description="One-cycle: the share of the run after which the rate is highest.")
    decay_from: Share = Field(0.7, description="Trapezoid: the share of the run after which the rate falls.")
    milestones: tuple[Share, ...] = Field(
        (0.3, 0.6, 0.8), max_length=16, description="Multi-step: shares of the run at which the rate drops."
    )
    factor: FiniteFloat = Field(0.2, gt=0, le=1, description="Multi-step: what each drop multiplies the rate by.")
    final: Share = Field(
        0.0, description="The final learning rate as a fraction of the highest: cosine, linear, one-cycle."
    )

    @model_validator(mode="after")
    def milestones_rise(self) -> ScheduleSpec:
        if any(a >= b for a, b in pairwise(self.milestones)):
            raise impossible("milestones must rise", "schedule.milestones")
        return self
