"""The settings of a run: a validated, frozen `TrainSpec`. Free of torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, model_validator

from trainer.spec.augment_spec import AugmentSpec
from trainer.spec.dataset_spec import DatasetSpec
from trainer.spec.model_spec import ModelSpec
from trainer.spec.optimizer_spec import OptimizerSpec, ScheduleSpec
from trainer.spec.part import STORED, FiniteFloat, Part, impossible
from trainer.spec.thresholds import ThresholdSpec
from trainer.spec.timm_models import is_timm

SelectBy = Literal["acc", "balanced_acc", "macro_f1", "auc", "loss"]


class BudgetSpec(Part):
    minutes: FiniteFloat | None = Field(
        None,
        gt=0,
        le=60 * 24 * 30,
        description="Train for this long, testing included, instead of a number of epochs: the schedule is fitted to "
        "the measured speed, so that the run ends annealed.",
    )


class TrainSpec(Part):
    """All settings that affect a run's results. Field descriptions are the launch form's help texts."""

    dataset: DatasetSpec
    preset: str | None = Field(None, description="The preset that this spec was made from.")
    target: Literal["fine", "coarse"] = Field(
        "fine", description="Learn the classes (fine) or their superclasses (coarse)."
    )
    model: ModelSpec = ModelSpec()
    optimizer: OptimizerSpec = OptimizerSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    augment: AugmentSpec = AugmentSpec()
    budget: BudgetSpec = BudgetSpec()
    loss: Literal["cross_entropy", "mse"] = Field(
        "cross_entropy", description="Cross-entropy on the logits, or squared error against one-hot labels."
    )
    label_smoothing: FiniteFloat = Field(
        0.0, ge=0, lt=1, description="Share of the target spread over all classes; cross-entropy only."
    )
    class_weights: Literal["none", "balanced", "effective"] = Field(
        "none",
        description="What an image counts in the loss, for uneven classes that matter alike: balanced, the inverse of "
        "its class's number of images; effective, less extreme, where the rarest classes have only a few images.",
    )
    effective_beta: FiniteFloat = Field(
        0.999,
        gt=0,
        lt=1,
        description="With effective weights: close to 1 weighs like balanced; lower is milder, and classes with more "
        "than about 1 / (1 - beta) images count alike (Cui et al. 2019).",
    )
    focal_gamma: FiniteFloat = Field(
        0.0,
        ge=0,
        le=10,
        description="Focal loss (Lin et al. 2017): the higher, the less images count that are predicted well already; "
        "2 is common, 0 is off. Where easy images dominate the loss.",
    )
    logit_adjustment: FiniteFloat = Field(
        0.0,
        ge=0,
        le=5,
        description="Adds this multiple of the logarithm of each class's share to its logit in the training loss only, "
        "for the best balanced accuracy on uneven classes (Menon et al. 2021); 1 is common, 0 is off.",
    )
    sampling: Literal["shuffle", "balanced"] = Field(
        "shuffle",
        description="Images of an epoch: shuffle takes each once; balanced draws as many with replacement, all classes "
        "equally often, so that images of rare classes repeat: with augmentation, for very uneven classes.",
    )
    epochs: int = Field(10, ge=1, le=100_000, description="Passes over the training split.")
    max_steps: int | None = Field(
        None, ge=1, le=100_000_000, description="Ends the run after this many steps, whatever the epochs."
    )
    batch_size: int = Field(64, ge=1, le=65_536, description="Images per step.")
    gradient_accumulation: int = Field(
        1,
        ge=1,
        le=1024,
        description="Parts into which the images of a step are divided, one after the other, where the memory is not "
        "enough for all of them: the step is the same, except that BatchNorm sees one part at a time.",
    )
    devices: int = Field(
        1,
        ge=1,
        le=64,
        description="Devices that train the run together, of one machine or of nodes, each on an equal part of every "
        "batch: steps and results stay the same, except that BatchNorm sees one part at a time.",
    )
    val_fraction: FiniteFloat = Field(
        0.1,
        ge=0,
        le=0.5,
        description="Share of the training split held out to choose the best epoch, at least one image of each class "
        "that has two.",
    )
    val_folds: int = Field(
        0,
        ge=0,
        le=20,
        description="Cross-validation, for small datasets: the training images are parted into this many folds, and "
        "each of as many runs holds out another one; 5 is common, 0 holds out the validation share.",
    )
    val_fold: int = Field(
        0, ge=0, le=20, description="The fold that this run holds out, from 1; empty launches a run for each fold."
    )
    drop_duplicates: bool = Field(
        False, description="Leave out training images that are identical to a validation or test image."
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Decides weights, order and augmentation.")
    precision: Literal["auto", "float32", "bf16", "fp16"] = Field(
        "auto",
        description="Number format of the forward and backward pass; auto measures which one is faster on a CPU, and "
        "takes bfloat16 or float16 on a GPU that has instructions for it.",
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto",
        description="torch.compile: started eagerly and switched at a recorded step; auto where the run is long "
        "enough to gain by it, and only as long as the compiled steps are faster.",
    )
    threads: int = Field(
        0,
        ge=0,
        le=1024,
        description="Processor threads; 0 takes every core, or fewer where those are measured to be faster.",
    )
    select_by: SelectBy = Field(
        "acc",
        description="The validation figure by which the best epoch is chosen: acc, balanced_acc or macro_f1 where "
        "classes are uneven, auc where the order of the probabilities counts, or loss.",
    )
    early_stopping: int = Field(
        0,
        ge=0,
        le=100_000,
        description="Ends the run after this many epochs without a better validation, by select_by; 0 never.",
    )
    test_flip: bool = Field(
        False, description="Also test with each image and its mirror image averaged, as a figure of its own."
    )
    track_gradients: bool = Field(
        True, description="Log the gradient's norm and the ratio of update to weight, about every eighth step."
    )
    overfit_one_batch: bool = Field(
        False, description="Train on one fixed batch: a network that cannot learn it is broken."
    )
    log_every: int = Field(
        0, ge=0, le=100_000, description="Steps between logged training points; 0 takes about 200 per epoch."
    )
    checks: Literal["off", "quick", "full"] = Field(
        "quick",
        description="Checks before the first step: quick takes a fraction of a second, full also overfits one batch "
        "and trains a baseline on zeroed images.",
    )
    stop_on_failed_checks: bool = Field(False, description="Abort before training if a check fails.")
    thresholds: ThresholdSpec = ThresholdSpec()
    checkpoint_minutes: FiniteFloat = Field(
        5.0, gt=0, le=1440, description="Longest time between checkpoints, in minutes."
    )

    @model_validator(mode="after")
    def parts_fit_together(self, info: ValidationInfo) -> TrainSpec:
        if info.context is STORED:
            return self
        if self.loss == "mse" and self.label_smoothing:
            raise impossible("label_smoothing needs loss = cross_entropy", "label_smoothing", "loss")
        if self.optimizer.layer_decay < 1 and not is_timm(self.model.name):
            raise impossible("only timm: models say what their layers are", "optimizer.layer_decay", "model.name")
        balancing = self.balancing
        for name in (*balancing, *(["focal_gamma"] if self.focal_gamma else [])):
            if self.loss == "mse" and name != "sampling":
                raise impossible(f"{name} needs loss = cross_entropy", name, "loss")
        for name in ("label_smoothing", "augment.mixup", "augment.cutmix"):
            part = self.augment if name.startswith("augment.") else self
            if self.focal_gamma and getattr(part, name.removeprefix("augment.")):
                reason = (
                    f"the focal loss takes labels that are neither smoothed nor mixed: set {name} or focal_gamma to 0"
                )
                raise impossible(reason, "focal_gamma", name)
        if len(balancing) > 1:
            reason = f"{balancing[0]} and {balancing[1]} both make up for uneven classes: choose one of them"
            raise impossible(reason, *balancing[:2])
        for name in ("mixup", "cutmix"):
            if self.loss == "mse" and getattr(self.augment, name):
                raise impossible(f"{name} needs loss = cross_entropy", f"augment.{name}", "loss")
        if self.devices > 1:
            self._devices_fit()
        most = max(1, self.batch_size // self.devices // 2)
        if self.gradient_accumulation > most:
            reason = f"a part needs two images, so that there are at most {most} parts"
            raise impossible(reason, "gradient_accumulation", "batch_size")
        if self.val_folds == 1:
            raise impossible("must be 0, or from 2 to 20", "val_folds")
        if bool(self.val_folds) != bool(self.val_fold):
            raise impossible(
                "val_fold says which of the val_folds folds to hold out: set both", "val_fold", "val_folds"
            )
        if self.val_fold > self.val_folds:
            raise impossible(f"there are only {self.val_folds} folds", "val_fold", "val_folds")
        if self.overfit_one_batch and self.budget.minutes:
            raise impossible("one batch is trained by epochs", "budget.minutes", "overfit_one_batch")
        return self

    def _devices_fit(self) -> None:
        if self.batch_size % self.devices:
            reason = f"the batch is divided equally among the devices: set batch_size to a multiple of {self.devices}"
            raise impossible(reason, "devices", "batch_size")
        if self.batch_size < 2 * self.devices:
            raise impossible("each device needs two images of a batch", "devices", "batch_size")
        if self.caches_features:
            reason = "a head on cached features trains in seconds on one device: set devices to 1"
            raise impossible(reason, "devices", "model.freeze")

    @property
    def balancing(self) -> tuple[str, ...]:
        """The settings that make up for uneven classes."""
        used = {
            "class_weights": self.class_weights != "none",
            "logit_adjustment": self.logit_adjustment != 0,
            "sampling": self.sampling == "balanced",
        }
        return tuple(name for name, is_used in used.items() if is_used)

    @property
    def validates(self) -> bool:
        """Whether there should be a validation split. It is empty where no class has two training images."""
        return self.dataset.has_validation or self.held_out_share > 0

    @property
    def held_out_share(self) -> float:
        """The share of the training images that should be held out of a dataset without a validation split."""
        return 1 / self.val_folds if self.val_folds else self.val_fraction

    @property
    def validated_on(self) -> tuple[object, ...]:
        """Equal for specs that are validated on the same images of the same dataset."""
        if self.dataset.has_validation:
            return ()
        if self.val_folds:
            return self.val_folds, self.val_fold
        drawn_with = self.dataset.split_seed
        return self.val_fraction, self.seed if drawn_with == "run" else drawn_with

    @property
    def caches_features(self) -> bool:
        """Whether the frozen backbone's features are the same in every epoch, and so are computed once and cached."""
        return self.model.freeze and not self.model.unfreeze_epoch and not self.augment.changes_images
