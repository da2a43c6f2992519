"""The predictor's responses, as the API returns them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

from app.prediction.members import JOINT, members_of


class PredictionPublic(BaseModel):
    label: str
    index: int = Field(description="The class's number in the dataset.")
    probability: float = Field(ge=0, le=1)
    superclass: str | None = None


class FamiliarityPublic(BaseModel):
    """The confidence in an image's prediction, compared with that of the correct validation predictions."""

    score: float = Field(description="The largest probability.")
    threshold: float = Field(description="All but 1% of the right validation answers reach it.")
    answers: int = Field(description="How many right validation answers the threshold was taken from.")
    familiar: bool = Field(
        description="False where the score is below the threshold. True is no promise: a network can be sure of an "
        "image that is like nothing it has seen."
    )


class ModelPublic(BaseModel):
    run: str = Field(description="Of an ensemble, its members' ids joined by +.")
    members: list[str] | None = Field(None, description="An ensemble's runs: the answer is their mean.")
    dataset: str
    target: str = Field(description="fine or coarse")
    size: int = Field(description="Images are fitted to size × size pixels.")
    step: int | None = Field(None, description="The checkpoint's step; null when no image could be read.")
    epoch: int | None = None
    sha256: str | None = Field(None, description="Hash of the checkpoint's file.")

    @model_validator(mode="after")
    def members_of_an_ensemble(self) -> ModelPublic:
        self.members = members_of(self.run) if JOINT in self.run else None
        return self


class TimingPublic(BaseModel):
    """Durations in milliseconds; for several images, the maximum of each."""

    queue: float
    load: float
    decode: float
    run: float


class ImageFault(BaseModel):
    code: str
    message: str
    detail: Any = None


class ImageResult(BaseModel):
    predictions: list[PredictionPublic] | None = None
    decision: Literal["accept", "unsure"] | None = None
    familiarity: FamiliarityPublic | None = None
    error: ImageFault | None = None


class Answer(BaseModel):
    model: ModelPublic
    results: list[ImageResult]
    calibrated: bool = False
    cold: bool
    timing_ms: TimingPublic


class SquarePublic(BaseModel):
    x: int = Field(description="Column of the square's upper left corner, in pixels of the fitted image.")
    y: int
    side: int
    probability: float = Field(description="The class's, with this square covered.")


class SaliencyPublic(BaseModel):
    """Occlusion map: how a class's probability changes when squares of the image get the dataset's mean color."""

    model: ModelPublic
    prediction: PredictionPublic = Field(description="The class that was asked about, with nothing covered.")
    fall: list[list[float]] = Field(
        description="size × size, by rows: how much probability the class loses, on the mean, when a square over the "
        "pixel is covered; negative where it gains."
    )
    strongest: SquarePublic = Field(description="The square that, covered, costs the class the most probability.")
    cold: bool = Field(description="Whether this request had to load the model.")
    timing_ms: TimingPublic


# HTTP status per error code of an image; 422 for all other codes.
IMAGE_STATUS = {"unsupported_image": 415, "image_too_large": 413}
