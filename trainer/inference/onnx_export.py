"""A classifier as an ONNX graph: uint8 images in, probabilities out, checked against torch before it is kept.

`image` uint8 [N, size, size, 3], RGB, fitted to the square as the data set was; `probabilities` float32 [N, classes].
Normalisation, and resizing where the network takes another size, are part of the graph. The metadata says the rest, as
a model's own file does (trainer/exported/portable.py).
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from trainer.data.errors import DatasetError
from trainer.data.format import Images, open_split
from trainer.errors import TrainerError
from trainer.exported.onnx_report import INPUT, OUTPUT, OnnxReport, report_path
from trainer.exported.portable import METADATA, Portable
from trainer.inference.classifier import BATCH, Classifier
from trainer.inference.ensemble import open_files
from trainer.models.inputs import network_input
from trainer.system.durable import placed, write_durably
from trainer.system.progress import Progress

OPSET = 18
CHECKED_IMAGES = 256
MOST_DIFFERENCE = 1e-3  # of probabilities; what is off by more is not the same model


class ExportFailed(TrainerError):
    """The network cannot be written as ONNX, or answers differently when it is."""


class Graph(nn.Module):
    """The network with all that comes before and after it."""

    mean: Tensor
    std: Tensor

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.model = classifier.model
        self.size = classifier.size
        for name, values in zip(("mean", "std"), classifier.constants, strict=True):
            self.register_buffer(name, values)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.model(network_input(image, (self.mean, self.std), self.size))
        return logits.float().softmax(1)


def export_onnx(
    files: Sequence[Path], datasets: Path, target: Path, progress: Progress, custom_models: Collection[str] = ()
) -> OnnxReport:
    """Write `target` and its report from models that were taken away; several make one graph of their mean.

    Raises ExportFailed, PortableDamaged, OSError.
    """
    progress(0, 3, "loading the weights")
    classifier, abouts = open_files(files, torch.device("cpu"), custom_models)
    images, checked_on = images_to_check(datasets, abouts[0])
    progress(1, 3, "writing the graph")
    proto = graph_of(classifier, images[:2])
    progress(2, 3, "comparing with torch")
    found = run_onnx(proto.SerializeToString(), images)
    expected = np.concatenate(
        [classifier.probabilities(images[at : at + BATCH]) for at in range(0, len(images), BATCH)]
    )
    difference = float(np.abs(found - expected).max())
    if not difference <= MOST_DIFFERENCE:  # NaN as well
        raise ExportFailed(f"The graph's probabilities are off by as much as {difference:.2g}: it was not kept.")
    described = [about.model_dump(mode="json") for about in abouts]
    proto.metadata_props.add(key=METADATA, value=json.dumps(described[0] if len(described) == 1 else described))
    proto.metadata_props.add(key="largest_difference", value=f"{difference:.3g}")
    proto.metadata_props.add(key="checked_on", value=f"{len(images)} {checked_on}")
    data = proto.SerializeToString()
    report = OnnxReport(
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        largest_difference=difference,
        same_answers=int((found.argmax(1) == expected.argmax(1)).sum()),
        images=len(images),
        checked_on=checked_on,
        opset=OPSET,
    )
    with placed(target) as fresh:
        fresh.write_bytes(data)
    write_durably(report_path(target), report.model_dump_json().encode())
    progress(3, 3, "done")
    return report


def graph_of(classifier: Classifier, example: Images) -> Any:
    """The ONNX model, weights within."""
    batch = torch.export.Dim("batch")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's, of its own parts
            program = torch.onnx.export(
                Graph(classifier).eval(),
                (torch.from_numpy(example),),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: batch},),
                opset_version=OPSET,
                verbose=False,
            )
    except Exception as error:  # the exporter raises whatever it came across
        raise ExportFailed(f"torch cannot write this network as ONNX: {error}"[:1000]) from error
    assert program is not None
    proto: onnx.ModelProto = program.model_proto
    return proto


def run_onnx(model: bytes, images: Images) -> np.ndarray[Any, np.dtype[np.float32]]:
    """In batches of one and of many, as programs will call it."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    starts = [0, *range(1, len(images), BATCH)]
    parts = [images[begin:end] for begin, end in zip(starts, [*starts[1:], len(images)], strict=True)]
    return np.concatenate([session.run([OUTPUT], {INPUT: part})[0] for part in parts])


def images_to_check(datasets: Path, about: Portable) -> tuple[Images, Literal["test images", "noise"]]:
    """Test images of the data set, evenly over all; noise where it is gone or has other sizes."""
    try:
        images, _ = open_split(datasets, about.dataset, "test")
    except DatasetError:
        images = np.empty((0, 0, 0, 3), np.uint8)
    if len(images) < 2 or images.shape[1] != about.size:
        shape = (CHECKED_IMAGES, about.size, about.size, 3)
        return np.random.default_rng(0).integers(0, 256, shape, np.uint8), "noise"
    rows = np.linspace(0, len(images) - 1, min(CHECKED_IMAGES, len(images))).astype(int)
    return images[rows], "test images"
