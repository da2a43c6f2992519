"""The settings of a run that say what its network is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from trainer.spec.catalog import architecture, takes_weights
from trainer.spec.part import STORED, FiniteFloat, Part, impossible
from trainer.spec.timm_models import is_timm, timm_model

PUBLISHED = ("pretrained", "imagenet")  # "imagenet" is the older word


class ModelSpec(Part):
    name: str = Field(
        "cnn",
        max_length=120,
        description="Network architecture: one of the list, or any of timm's: type a part of its name. With weights "
        "after a dot, such as timm:convnext_tiny.fb_in22k_ft_in1k, needs model.weights = pretrained.",
    )
    widths: tuple[Annotated[int, Field(ge=1, le=8192)], ...] = Field(
        (),
        max_length=8,
        description="Hidden widths (mlp), or channels of the stages; empty takes the defaults.",
    )
    dropout: FiniteFloat = Field(
        0.0, ge=0, lt=1, description="Share of activations dropped before each hidden linear layer, or in each block."
    )
    final_relu: bool = Field(False, description="A ReLU after the last layer: it sets negative logits to 0.")
    input_size: int = Field(
        0,
        ge=0,
        le=1024,
        description="Resize images to this many pixels on the device; 0 leaves them as they are, or takes the size of "
        "a timm model's weights.",
    )
    weights: str = Field(
        "none",
        min_length=1,
        max_length=400,
        description="Where a torchvision or timm model's weights come from: none, pretrained (downloaded, or from the "
        "cache of earlier downloads), or a local file.",
    )
    normalization: Literal["auto", "dataset", "weights"] = Field(
        "auto",
        description="What pixels are normalized with: the mean and deviation of the dataset, or of the images that the "
        "weights were trained on; auto takes the latter where there are weights.",
    )
    drop_path: FiniteFloat = Field(
        0.0,
        ge=0,
        lt=1,
        description="timm's networks: share of residual branches dropped in training (stochastic depth).",
    )
    freeze: bool = Field(
        False, description="Train the head alone; without augmentation the backbone's features are computed only once."
    )
    unfreeze_epoch: int = Field(
        0, ge=0, le=100_000, description="Epoch from which a frozen backbone trains too; 0 keeps it frozen."
    )

    @field_validator("name")
    @classmethod
    def name_is_known(cls, name: str, info: ValidationInfo) -> str:
        if info.context is not STORED:
            architecture(name)
        return name

    @model_validator(mode="after")
    def parts_fit_together(self, info: ValidationInfo) -> ModelSpec:
        if info.context is STORED:
            return self
        if self.weights != "none" and not takes_weights(self.name):
            raise impossible("only torchvision: and timm: models take weights", "model.weights", "model.name")
        if is_timm(self.name):
            self._check_timm()
        elif self.drop_path:
            raise impossible("only timm: models take it", "model.drop_path", "model.name")
        if self.normalization == "weights" and self.weights == "none":
            raise impossible("there are no weights", "model.normalization", "model.weights")
        if self.freeze and self.weights == "none":
            raise impossible("a frozen backbone needs weights", "model.freeze", "model.weights")
        if self.unfreeze_epoch and not self.freeze:
            raise impossible("nothing is frozen", "model.unfreeze_epoch", "model.freeze")
        return self

    def without_weights(self) -> ModelSpec:
        """The settings of the same network, for weights that come from elsewhere."""
        name = self.name.partition(".")[0] if is_timm(self.name) else self.name
        start = {"weights": "none", "freeze": False, "unfreeze_epoch": 0, "normalization": "auto"}
        return self.model_copy(update={"name": name, **start})

    def _check_timm(self) -> None:
        known = timm_model(self.name)
        if "." in self.name and self.weights == "none":
            raise impossible(
                "the name says which weights: set model.weights to pretrained, or leave out what follows the dot",
                "model.name",
                "model.weights",
            )
        if self.weights in PUBLISHED and not known.weights:
            raise impossible(f"timm has no weights of {known.name}", "model.weights", "model.name")
        if self.freeze and not known.linear_head:
            raise impossible(f"{known.name} has no single linear head to train", "model.freeze", "model.name")
        if self.drop_path and not known.drops_paths:
            raise impossible(f"{known.name} has no stochastic depth", "model.drop_path", "model.name")
