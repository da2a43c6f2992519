"""What each setting of a run is called: its label, the heading above it, and its short word.

A setting on a line or in a column of its own has its label. One-line summaries of several settings, names of runs and
searches have the short word.
"""

from __future__ import annotations

from collections.abc import Iterable

LABELS = {
    "optimizer.lr": "Learning rate",
    "budget.minutes": "Time budget (minutes)",
    "optimizer.name": "Optimizer",
    "optimizer.decay_norms": "Decay norms and biases",
    "optimizer.rest": "Muon: auxiliary optimizer",
    "optimizer.rest_lr": "Muon: auxiliary learning rate",
    "optimizer.head_lr": "Learning rate of the head",
    "optimizer.layer_decay": "Layer-wise decay",
    "optimizer.clip_norm": "Clip gradients at norm",
    "optimizer.ema": "EMA decay",
    "schedule.name": "Schedule",
    "schedule.warmup_epochs": "Warm-up epochs",
    "schedule.peak": "One-cycle: peak at",
    "schedule.decay_from": "Trapezoid: decays from",
    "schedule.milestones": "Multi-step: milestones",
    "schedule.factor": "Multi-step: gamma",
    "schedule.final": "Final LR fraction",
    "augment.crop": "Random crop, px",
    "augment.padding": "Crop padding mode",
    "augment.resized_crop": "Random resized crop",
    "augment.flip": "Random flip",
    "augment.alternating": "Alternating flip",
    "augment.vertical_flip": "Vertical flip",
    "augment.rotation": "Rotation, degrees",
    "augment.brightness": "Color jitter: brightness",
    "augment.contrast": "Color jitter: contrast",
    "augment.saturation": "Color jitter: saturation",
    "augment.hue": "Color jitter: hue",
    "augment.blur": "Gaussian blur, share",
    "augment.cutout": "Cutout, px",
    "augment.trivial": "TrivialAugment",
    "augment.randaugment": "RandAugment: operations",
    "augment.randaugment_magnitude": "RandAugment: magnitude",
    "augment.resolutions": "Progressive resizing: sizes",
    "augment.resolution_until": "Progressive resizing: until",
    "model.name": "Network",
    "model.drop_path": "Stochastic depth",
    "model.final_relu": "Final ReLU",
    "model.input_size": "Resize to, px",
    "model.freeze": "Freeze the backbone",
    "model.unfreeze_epoch": "Unfreeze at epoch",
    "gradient_accumulation": "Gradient accumulation, parts",
    "devices": "Devices",
    "effective_beta": "Effective weights: beta",
    "focal_gamma": "Focal loss: gamma",
    "val_fraction": "Validation split",
    "val_folds": "Cross-validation: folds",
    "val_fold": "Cross-validation: fold",
    "drop_duplicates": "Drop duplicates of held-out images",
    "log_every": "Log every, steps",
    "checkpoint_minutes": "Checkpoint minutes",
    "max_steps": "Max steps",
    "compile": "torch.compile",
    "early_stopping": "Early stopping, epochs",
    "test_flip": "Flip TTA",
    "thresholds.rise": "Loss increase",
    "thresholds.slow_fall": "Min loss decrease",
    "thresholds.by_heart": "Memorization gap",
    "thresholds.dead_units": "Dead ReLU fraction",
}
SHORT_WORDS = {
    "optimizer.lr": "lr",
    "optimizer.name": "optimizer",
    "optimizer.weight_decay": "wd",
    "optimizer.momentum": "momentum",
    "model.name": "model",
    "schedule.name": "schedule",
    "schedule.warmup_epochs": "warm-up",
    "batch_size": "batch",
    "gradient_accumulation": "accumulation",
    "label_smoothing": "smoothing",
    "val_fold": "fold",
}
MAIN_SETTINGS = ("epochs", "budget.minutes", "optimizer.lr", "batch_size", "seed")
THRESHOLDS = "Diagnosis thresholds"  # last on a page
_UNEVEN = ("class_weights", "effective_beta", "focal_gamma", "logit_adjustment", "sampling")
_GROUPS: dict[str, tuple[str, ...]] = {  # names or prefixes of settings
    "Settings": MAIN_SETTINGS,
    "Optimizer": ("optimizer.",),
    "Schedule": ("schedule.",),
    "Augmentation": ("augment.",),
    "Network and loss": ("model.", "loss", "label_smoothing", *_UNEVEN, "target"),
    THRESHOLDS: ("thresholds.",),
    "Limits, precision, logging, checks": ("",),
}


def setting_label(name: str) -> str:
    """The label of the setting with this dotted name: `optimizer.weight_decay` is "Weight decay"."""
    return LABELS.get(name, name.rsplit(".", 1)[-1].replace("_", " ").capitalize())


def short_word(name: str) -> str:
    """The short word for the setting: `optimizer.weight_decay` is "wd", `augment.flip` is "flip"."""
    return SHORT_WORDS.get(name, name.rsplit(".", 1)[-1].replace("_", " "))


def by_heading(names: Iterable[str]) -> dict[str, list[str]]:
    """The settings' dotted names under their headings, in the order of a page."""
    left = list(names)
    found = {}
    for heading, prefixes in _GROUPS.items():
        found[heading] = [name for name in left if name.startswith(prefixes)]
        left = [name for name in left if name not in found[heading]]
    found[THRESHOLDS] = found.pop(THRESHOLDS)
    return found
