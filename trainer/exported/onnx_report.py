"""The report of an ONNX export, stored beside the file as JSON. Free of torch and onnx."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

INPUT, OUTPUT = "image", "probabilities"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


class OnnxReport(BaseModel):
    """`largest_difference` is the largest between the probabilities of onnxruntime and torch, over `images` images."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    size: int
    largest_difference: float
    same_answers: int = Field(description="Of how many of the images the likeliest class was the same.")
    images: int
    checked_on: Literal["test images", "noise"]
    opset: int


def report_path(file: Path) -> Path:
    """Path of the report. It is written after the file: without it the export is incomplete."""
    return file.with_suffix(".json")


def read_report(file: Path) -> OnnxReport | None:
    """Return the report of an export to `file`; None if the export is incomplete or the file is missing."""
    if not file.exists():
        return None
    try:
        return OnnxReport.model_validate_json(report_path(file).read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def missing_packages() -> list[str]:
    return [name for name in PACKAGES if find_spec(name) is None]
