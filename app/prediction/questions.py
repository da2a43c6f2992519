"""What the predictor can be asked, and how a question travels in a frame's header. Free of torch.

Both ends are of the same version. Writing a PredictQuestion takes 2 µs and reading it 1 µs, of some 500 µs per request.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from app.prediction.wire import Header
from trainer.spec.train_spec import ModelSpec, TrainSpec


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class PredictQuestion(_Part):
    """The `top_k` likeliest classes of each image. The payload holds the images, `lengths` bytes each.

    Images are files, or, as `pixels`, uint8 size × size × 3 as the run's network takes them.
    """

    ask: Literal["predict"] = "predict"
    run: str
    lengths: tuple[int, ...]
    top_k: int
    pixels: bool = False


class SaliencyQuestion(_Part):
    """Where covering the payload, an image file, changes the probability of class `index`; None: of the likeliest."""

    ask: Literal["saliency"] = "saliency"
    run: str
    index: int | None


class PingQuestion(_Part):
    """Whether a predictor answers."""

    ask: Literal["ping"] = "ping"


class TargetQuestion(_Part):
    """The size of the images that a run's network takes, and the names of its classes."""

    ask: Literal["target"] = "target"
    run: str


class DescribeQuestion(_Part):
    """Parameters, operations and memory of a network for images of `size` × `size`. It may never be trained."""

    ask: Literal["describe"] = "describe"
    model: ModelSpec
    classes: int
    size: int


class AugmentQuestion(_Part):
    """A picture of some training images as the spec's augmentation changes them."""

    ask: Literal["augment"] = "augment"
    spec: TrainSpec


Question = PredictQuestion | SaliencyQuestion | PingQuestion | TargetQuestion | DescribeQuestion | AugmentQuestion
_QUESTION: TypeAdapter[Question] = TypeAdapter(Annotated[Question, Field(discriminator="ask")])


def header_of(question: Question) -> Header:
    return question.model_dump(mode="json")


def question_of(header: Header) -> Question:
    """Raises ValidationError."""
    return _QUESTION.validate_python(header)
