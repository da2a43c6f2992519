"""The questions that the predictor answers, and their encoding in the header of a frame. Free of torch.

Both ends run the same version. Encoding a PredictQuestion takes 2 µs and decoding it 1 µs, of about 500 µs per request.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from app.prediction.wire import Header
from trainer.spec.model_spec import ModelSpec
from trainer.spec.train_spec import TrainSpec


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class PredictQuestion(_Part):
    """Predict the `top_k` most likely classes of each image. The payload holds the images, of `lengths` bytes.

    Images are files, or, with `pixels`, raw uint8 size × size × 3 in the size of the run's input. Clients take turns:
    `client` names who asks. `calibrated`: with the model's temperature, if it has one.
    """

    ask: Literal["predict"] = "predict"
    run: str
    lengths: tuple[int, ...]
    top_k: int
    pixels: bool = False
    calibrated: bool = True
    client: str = ""


class SaliencyQuestion(_Part):
    """Compute the occlusion map of the payload, an image file, for class `index`; None: the most likely class."""

    ask: Literal["saliency"] = "saliency"
    run: str
    index: int | None
    client: str = ""


class PingQuestion(_Part):
    """Check that a predictor answers."""

    ask: Literal["ping"] = "ping"


class TargetQuestion(_Part):
    """Return the size of a run's input images, and the names of its classes."""

    ask: Literal["target"] = "target"
    run: str


class DescribeQuestion(_Part):
    """Count the parameters, FLOPs and memory of a network for images of `size` × `size`, without training it."""

    ask: Literal["describe"] = "describe"
    model: ModelSpec
    classes: int
    size: int


class AugmentQuestion(_Part):
    """Draw some training images with the spec's augmentation applied."""

    ask: Literal["augment"] = "augment"
    spec: TrainSpec


Question = PredictQuestion | SaliencyQuestion | PingQuestion | TargetQuestion | DescribeQuestion | AugmentQuestion
_QUESTION: TypeAdapter[Question] = TypeAdapter(Annotated[Question, Field(discriminator="ask")])


def header_of(question: Question) -> Header:
    return question.model_dump(mode="json")


def question_of(header: Header) -> Question:
    """Parse the header of a question. Raises ValidationError."""
    return _QUESTION.validate_python(header)
