"""Export a classifier to an ONNX graph from uint8 images to probabilities, and compare it with torch.

`image` uint8 [N, size, size, 3], RGB, fitted to the square as in the dataset; `probabilities` float32 [N, classes].
Normalization, and resizing where the network takes another size, are part of the graph, and so is the temperature that
calibrates the probabilities. The metadata is that of an exported model (trainer/exported/portable.py).
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
from trainer.models.inputs import Constants, network_input
from trainer.system.durable import placed, write_durably
from trainer.system.progress import Progress

OPSET = 18
CHECKED_IMAGES = 256
MAX_DIFFERENCE = 1e-3  # of probabilities; a graph with a larger difference is rejected


class ExportFailed(TrainerError):
    """The network cannot be exported to ONNX, or the graph's outputs differ from torch's."""


class Graph(nn.Module):
    """The network with normalization and resizing before it, and temperature and softmax after it."""

    mean: Tensor
    std: Tensor

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.model = classifier.model
        self.size = classifier.size
        self.temperature = classifier.temperature
        self.interpolation = classifier.constants.interpolation
        self.register_buffer("mean", classifier.constants.mean)
        self.register_buffer("std", classifier.constants.std)

    def forward(self, image: Tensor) -> Tensor:
        constants = Constants(self.mean, self.std, self.interpolation)
        logits: Tensor = self.model(network_input(image, constants, self.size))
        logits = logits.float()
        return (logits if self.temperature is None else logits / self.temperature).softmax(1)


def export_onnx(
    files: Sequence[Path], datasets: Path, target: Path, progress: Progress, custom_models: Collection[str] = ()
) -> OnnxReport:
    """Write `target` and its report from exported models. Several models make one graph of their mean.

    Raises ExportFailed, PortableDamaged, ValueError, OSError.
    """
    progress(0, 3, "loading the weights")
    classifier, abouts = open_files(files, torch.device("cpu"), custom_models)
    images, checked_on = images_to_check(datasets, abouts[0])
    progress(1, 3, "writing the graph")
    proto = graph_of(classifier, images[:2])
    progress(2, 3, "comparing with torch")
    found = run_onnx(proto.SerializeToString(), images)
    expected = np.concatenate(
        [
            classifier.calibrated(classifier.probabilities(images[at : at + BATCH]))
            for at in range(0, len(images), BATCH)
        ]
    )
    difference = float(np.abs(found - expected).max())
    if not difference <= MAX_DIFFERENCE:  # also if it is NaN
        raise ExportFailed(f"The graph's probabilities are off by as much as {difference:.2g}: it was not kept.")
    described = [about.model_dump(mode="json") for about in abouts]
    proto.metadata_props.add(key=METADATA, value=json.dumps(described[0] if len(described) == 1 else described))
    for key, text in readable(abouts[0]).items():
        proto.metadata_props.add(key=key, value=text)
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
    target.parent.mkdir(parents=True, exist_ok=True)
    with placed(target) as fresh:
        fresh.write_bytes(data)
    write_durably(report_path(target), report.model_dump_json().encode())
    progress(3, 3, "done")
    return report


def readable(about: Portable) -> dict[str, str]:
    """What the graph takes and gives, for people and for programs that do not know the metadata of exported models."""
    mean, std = (", ".join(f"{value:.6g}" for value in values) for values in (about.mean, about.std))
    return {
        "input": f"{INPUT}: uint8 [N, {about.size}, {about.size}, 3], NHWC, RGB from 0 to 255; fitted by {about.fit}",
        "normalization": f"in the graph, in the order RGB: (x / 255 - mean) / std, mean {mean}, std {std}",
        "output": f"{OUTPUT}: float32 [N, {len(about.classes)}], after softmax and temperature",
        "classes": json.dumps(about.classes, ensure_ascii=False),
    }


def graph_of(classifier: Classifier, example: Images) -> Any:
    """Return the ONNX model, including its weights. Raises ExportFailed."""
    batch = torch.export.Dim("batch")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter warns about its own internals
            program = torch.onnx.export(
                Graph(classifier).eval(),
                (torch.from_numpy(example),),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: batch},),
                opset_version=OPSET,
                verbose=False,
            )
    except Exception as error:  # the exporter may raise anything
        raise ExportFailed(f"torch cannot write this network as ONNX: {error}"[:1000]) from error
    assert program is not None
    proto: onnx.ModelProto = program.model_proto
    return proto


def run_onnx(model: bytes, images: Images) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Run an ONNX model on one image and then on batches, and return the probabilities, float32 N×C."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    starts = [0, *range(1, len(images), BATCH)]
    parts = [images[begin:end] for begin, end in zip(starts, [*starts[1:], len(images)], strict=True)]
    return np.concatenate([session.run([OUTPUT], {INPUT: part})[0] for part in parts])


def images_to_check(datasets: Path, about: Portable) -> tuple[Images, Literal["test images", "noise"]]:
    """Return evenly spaced test images, or noise if the dataset is missing or its images have another size."""
    try:
        images, _ = open_split(datasets, about.dataset, "test")
    except DatasetError:
        images = np.empty((0, 0, 0, 3), np.uint8)
    if len(images) < 2 or images.shape[1] != about.size:
        shape = (CHECKED_IMAGES, about.size, about.size, 3)
        return np.random.default_rng(0).integers(0, 256, shape, np.uint8), "noise"
    rows = np.linspace(0, len(images) - 1, min(CHECKED_IMAGES, len(images))).astype(int)
    return images[rows], "test images"
