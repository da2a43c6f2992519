"""Format numbers, durations and settings for pages. static/js/lib/format.js formats them alike in the browser."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from app.display.intervals import wilson
from app.display.labels import short_word

_SPLITS = {"train": "training", "val": "validation", "test": "test", "train_clean": "training (clean)"}
_WEIGHTS = {"last": "last weights", "init": "untrained network"}
_METRICS = {
    "acc": "accuracy", "acc5": "top-5 accuracy", "balanced_acc": "balanced accuracy", "macro_f1": "macro F1",
    "macro_precision": "macro precision", "auc": "area under the ROC curve", "log_loss": "log loss",
    "ece": "expected calibration error",
    "ece_calibrated": "expected calibration error, calibrated",
    "coarse_acc": "superclass accuracy", "knn_acc": "accuracy of 20 nearest neighbors",
    "acc_flip": "accuracy with flip TTA", "flips": "prediction churn", "suggested_lr": "suggested learning rate",
}  # fmt: skip
_ACCURACY = re.compile(r"(^|_)(acc\d*|f1|precision|auc)(_|$)")


def duration(seconds: float | None) -> str:
    """Format a duration: 12 s · 3:41 · 1 h 12 · 2 d 3 h. Empty for None and for non-finite values."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    minutes = round(whole / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d}"
    hours = round(minutes / 60)
    return f"{hours // 24} d {hours % 24} h"


def about(seconds: float | None) -> str:
    """Format a rough duration: about 40 s · about 4 min · about 1 h 12. Empty as in `duration`."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    if seconds < 55:
        return f"about {max(1, round(seconds / 10))}0 s"
    minutes = max(1, round(seconds / 60))
    return f"about {minutes} min" if minutes < 60 else f"about {duration(60 * minutes)}"


def ago(seconds: float) -> str:
    """Format the time that has passed: just now · 12 s ago · 3 min ago · 5 h ago · 2 d ago"""
    if seconds < 5:
        return "just now"
    for unit, length, longest in (("s", 1, 60), ("min", 60, 3600), ("h", 3600, 86400)):
        if seconds < longest:
            return f"{int(seconds // length)} {unit} ago"
    return f"{int(seconds // 86400)} d ago"


def number(value: Any) -> str:
    """Format a float as 3e-4 below 0.01 and from 1e6 on, else with up to six significant digits.

    Integers below 1e15 keep all their digits. Other types and non-finite values are converted by `str`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) and abs(value) < 10**15:
        return str(value)
    if not math.isfinite(value):
        return str(value)
    if value != 0 and (abs(value) < 0.01 or abs(value) >= 1e6):
        mantissa, exponent = f"{value:.5e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return f"{value:.6g}"


def short(value: float) -> str:
    """Format with three significant digits, for a measured value beside its threshold."""
    return number(float(f"{value:.3g}"))


def probability(value: float) -> str:
    """Format a probability with three digits, or with as many as its distance from 1 needs: 0.5 · 0.983 · 0.99995"""
    return number(round(value, 3 if value < 0.99 or value == 1 else max(3, 1 - math.floor(math.log10(1 - value)))))


def metric(name: str, value: Any) -> str:
    """Format a metric: accuracies in percent, whole numbers with all digits, others with three. Empty if it is none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return ""
    if _ACCURACY.search(name.rsplit("/", 1)[-1]):
        return f"{percent(value)}%"
    return count(int(value)) if float(value).is_integer() and abs(value) < 1e15 else short(value)


def metric_name(name: str) -> str:
    """Format the name of a metric of a run's summary: last/test/acc5 as "test top-5 accuracy, last weights"."""
    *prefixes, last = name.split("/")
    split = " ".join(_SPLITS.get(prefix, prefix) for prefix in prefixes if prefix not in _WEIGHTS)
    weights = "".join(f", {_WEIGHTS[prefix]}" for prefix in prefixes if prefix in _WEIGHTS)
    for known in _SPLITS:
        if last.startswith(f"{known}_"):
            split, last = f"{split} {_SPLITS[known]}", last.removeprefix(f"{known}_")
    return f"{split} {_METRICS.get(last, last.replace('_', ' '))}{weights}".strip()


def percent(fraction: float | None, digits: int = 1) -> str:
    return "" if fraction is None else f"{100 * fraction:.{digits}f}"


def interval(fraction: float | None, trials: int | None) -> str:
    """The bounds of the 95% Wilson interval of a fraction of `trials`, in percent: (68.6–70.4). Empty if unknown."""
    if fraction is None or not trials:
        return ""
    low, high = wilson(fraction * trials, trials)
    return f"({percent(low)}–{percent(high)})"


def percent_and_interval(fraction: float | None, trials: int | None) -> str:
    """69.5 (68.6–70.4), or only the percentage if `trials` is None or 0. Empty if the fraction is None."""
    return f"{percent(fraction)} {interval(fraction, trials)}".strip()


def size(byte_count: int) -> str:
    value = float(byte_count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def setting(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return number(value)


def changes_text(changed: Iterable[Mapping[str, Any]]) -> str:
    """Format changed settings: lr 1e-3 → 1e-4 · +flip · wd 0 → 5e-4"""
    return " · ".join(_change(item) for item in changed)


def _change(item: Mapping[str, Any]) -> str:
    name = short_word(item["field"])
    if isinstance(item["to"], bool):
        return f"{'+' if item['to'] else '−'}{name}"
    return f"{name} {setting(item['from'])} → {setting(item['to'])}"
