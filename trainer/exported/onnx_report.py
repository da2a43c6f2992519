"""What is known of a model that was exported to ONNX, kept beside the file as JSON. Free of torch and of onnx."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

INPUT, OUTPUT = "image", "probabilities"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


class OnnxReport(BaseModel):
    """`largest_difference` is between probabilities of onnxruntime and of torch, over `images` images."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    size: int
    largest_difference: float
    same_answers: int = Field(description="Of how many of the images the likeliest class was the same.")
    images: int
    checked_on: Literal["test images", "noise"]
    opset: int


def report_path(file: Path) -> Path:
    """Written after the file: without it the export is not done."""
    return file.with_suffix(".json")


def read_report(file: Path) -> OnnxReport | None:
    """What is kept of an export to `file`, if it was done and the file is still there."""
    if not file.exists():
        return None
    try:
        return OnnxReport.model_validate_json(report_path(file).read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def missing_packages() -> list[str]:
    return [name for name in PACKAGES if find_spec(name) is None]
