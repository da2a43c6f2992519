"""The settings of a run: a validated, frozen `TrainSpec`. Free of torch."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, field_validator, model_validator
from pydantic_core import PydanticCustomError

from trainer.spec.catalog import IMAGENET, MODELS, is_custom

FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(allow_inf_nan=False, ge=0, le=1)]


def _share_or_pixels(value: float) -> float:
    """Pixels as an int."""
    if value < 1:
        return value
    if value < 8 or value != int(value):
        raise PydanticCustomError("resolution", "must be a share below 1, or whole pixels from 8 on")
    return int(value)


def _unchanged(value: float) -> float:
    return value


# Serialized as it is, so that pixels stay whole numbers.
Resolution = Annotated[
    float,
    Field(allow_inf_nan=False, gt=0, le=512),
    AfterValidator(_share_or_pixels),
    PlainSerializer(_unchanged, return_type=int | float),
]
ScheduleName = Literal["constant", "cosine", "linear", "one_cycle", "multi_step", "trapezoid", "range_test"]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DatasetSpec(Part):
    name: str = Field(description="The dataset to train on.", min_length=1, max_length=80)
    sha256: dict[str, str] = Field(
        default_factory=dict, description="Hash of each array, pinned when the run was queued."
    )
    split_seed: Annotated[int, Field(ge=0, lt=2**63)] | Literal["dataset", "run"] = Field(
        "run",
        description="What the held-out images are drawn with: the dataset's hash; the run's seed, as in runs queued by "
        "version 0.1.0 and before; or the seed of such a run, for a run that starts with its weights.",
    )

    @property
    def has_validation(self) -> bool:
        """Whether the pinned dataset has a validation split of its own."""
        return any(name.startswith("val.") for name in self.sha256)


class ModelSpec(Part):
    name: str = Field("cnn", max_length=120, description="Network architecture.")
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
        0, ge=0, le=512, description="Resize images to this many pixels on the device; 0 leaves them as they are."
    )
    weights: str = Field(
        "none",
        min_length=1,
        max_length=400,
        description="Where a torchvision model's weights come from: none, imagenet (downloaded), or a local file.",
    )
    freeze: bool = Field(
        False, description="Train the head alone; without augmentation the backbone's features are computed only once."
    )
    unfreeze_epoch: int = Field(
        0, ge=0, le=100_000, description="Epoch from which a frozen backbone trains too; 0 keeps it frozen."
    )

    @field_validator("name")
    @classmethod
    def name_is_known(cls, name: str) -> str:
        if name not in MODELS and not is_custom(name):
            raise ValueError(f"unknown model; there are {', '.join(MODELS)}")
        return name

    @model_validator(mode="after")
    def parts_fit_together(self) -> ModelSpec:
        pretrained = self.name.startswith(IMAGENET)
        if self.weights != "none" and not pretrained:
            raise impossible(f"only {IMAGENET} models take weights", "model.weights", "model.name")
        if self.freeze and self.weights == "none":
            raise impossible("a frozen backbone needs weights", "model.freeze", "model.weights")
        if self.unfreeze_epoch and not self.freeze:
            raise impossible("nothing is frozen", "model.unfreeze_epoch", "model.freeze")
        return self


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
    clip_norm: FiniteFloat = Field(
        0.0, ge=0, le=1e6, description="Scales gradients down to this norm where they are larger; 0 never."
    )
    ema: FiniteFloat = Field(
        0.0, ge=0, lt=1, description="Decay of a running mean of the weights, which is what is evaluated; 0 keeps none."
    )

    @model_validator(mode="after")
    def nesterov_needs_momentum(self) -> OptimizerSpec:
        if self.nesterov and self.momentum == 0:
            raise impossible("nesterov needs a momentum above 0", "optimizer.nesterov", "optimizer.momentum")
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


class BudgetSpec(Part):
    minutes: FiniteFloat | None = Field(
        None,
        gt=0,
        le=60 * 24 * 30,
        description="Train for this long, testing included, instead of a number of epochs: the schedule is fitted to "
        "the measured speed, so that the run ends annealed.",
    )


class AugmentSpec(Part):
    crop: int = Field(
        0,
        ge=0,
        le=64,
        description="Pad by this many pixels, then crop at random; 4 is common at 32 px.",
    )
    padding: Literal["reflect", "zero"] = Field("reflect", description="What the crop shows beyond the image's edge.")
    flip: bool = Field(False, description="Mirror half of the images left to right.")
    alternating: bool = Field(
        False, description="Mirror each image in every other epoch, half of them first, rather than at random."
    )
    cutout: int = Field(0, ge=0, le=512, description="Side of a square blanked at random, in pixels; 0 blanks none.")
    mixup: FiniteFloat = Field(
        0.0, ge=0, le=10, description="Blend pairs of images and labels; the Beta distribution's alpha, 0.2 is common."
    )
    cutmix: FiniteFloat = Field(
        0.0, ge=0, le=10, description="Paste a box of another image, labels by area; the Beta distribution's alpha."
    )
    trivial: bool = Field(False, description="TrivialAugment: one random operation of random strength for each image.")
    resolutions: tuple[Resolution, ...] = Field(
        (),
        max_length=6,
        description="Progressive resizing: smaller sizes to train at first, as shares of the images' size, such as "
        "0.625, 0.75, or in pixels from 8 on.",
    )
    resolution_until: tuple[Share, ...] = Field(
        (), max_length=6, description="The share of the run at which each of these sizes ends, such as 0.2, 0.55."
    )

    @model_validator(mode="after")
    def parts_fit_together(self) -> AugmentSpec:
        if len(self.resolutions) != len(self.resolution_until):
            raise impossible(
                "each resolution needs the share at which it ends", "augment.resolutions", "augment.resolution_until"
            )
        if any(a >= b for a, b in pairwise(self.resolution_until)):
            raise impossible("the shares must rise", "augment.resolution_until")
        if self.alternating and not self.flip:
            raise impossible("alternating needs flip", "augment.alternating", "augment.flip")
        return self

    @property
    def changes_images(self) -> bool:
        return self != AugmentSpec()


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
    class_weights: Literal["none", "balanced"] = Field(
        "none",
        description="Balanced weighs each class by the inverse of its number of images: for imbalanced datasets.",
    )
    epochs: int = Field(10, ge=1, le=100_000, description="Passes over the training split.")
    max_steps: int | None = Field(
        None, ge=1, le=100_000_000, description="Ends the run after this many steps, whatever the epochs."
    )
    batch_size: int = Field(64, ge=1, le=65_536, description="Images per step.")
    val_fraction: FiniteFloat = Field(
        0.1,
        ge=0,
        le=0.5,
        description="Share of the training split held out to choose the best epoch, at least one image of each class "
        "that has two.",
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
    early_stopping: int = Field(
        0, ge=0, le=100_000, description="Ends the run after this many epochs without a better val/acc; 0 never."
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
    def parts_fit_together(self) -> TrainSpec:
        if self.loss == "mse" and self.label_smoothing:
            raise impossible("label_smoothing needs loss = cross_entropy", "label_smoothing", "loss")
        if self.loss == "mse" and self.class_weights != "none":
            raise impossible("class_weights need loss = cross_entropy", "class_weights", "loss")
        for name in ("mixup", "cutmix"):
            if self.loss == "mse" and getattr(self.augment, name):
                raise impossible(f"{name} needs loss = cross_entropy", f"augment.{name}", "loss")
        if self.overfit_one_batch and self.budget.minutes:
            raise impossible("one batch is trained by epochs", "budget.minutes", "overfit_one_batch")
        return self

    @property
    def validates(self) -> bool:
        """Whether there should be a validation split. It is empty where no class has two training images."""
        return self.dataset.has_validation or self.val_fraction > 0

    @property
    def validated_on(self) -> tuple[object, ...]:
        """Equal for specs that are validated on the same images of the same dataset."""
        if self.dataset.has_validation:
            return ()
        drawn_with = self.dataset.split_seed
        return self.val_fraction, self.seed if drawn_with == "run" else drawn_with

    @property
    def caches_features(self) -> bool:
        """Whether the frozen backbone's features are the same in every epoch, and so are computed once and cached."""
        return self.model.freeze and not self.model.unfreeze_epoch and not self.augment.changes_images


def impossible(reason: str, *fields: str) -> PydanticCustomError:
    """The error of an invalid combination of `fields`, all of which are named in the response."""
    return PydanticCustomError("impossible", "{reason}", {"reason": reason, "fields": fields})
