"""The questions to the predictor, through a frame and back."""

from __future__ import annotations

import io

import pytest
from pydantic import ValidationError

from app.prediction.questions import (
    AugmentQuestion,
    DescribeQuestion,
    PingQuestion,
    PredictQuestion,
    Question,
    SaliencyQuestion,
    TargetQuestion,
    header_of,
    question_of,
)
from app.prediction.wire import pack, receive_blocking
from trainer.spec.preset import build_spec

SPEC = build_spec("birds", "quick", {"optimizer.lr": 0.1 + 0.2, "model.widths": [8, 16, 32]})


@pytest.mark.parametrize(
    "question",
    [
        PredictQuestion(run="0123456789+abcdef0123", lengths=(2500, 0, 3), top_k=5),
        PredictQuestion(run="0123456789", lengths=(3072,), top_k=1, pixels=True),
        SaliencyQuestion(run="0123456789", index=None),
        SaliencyQuestion(run="0123456789", index=0),
        PingQuestion(),
        TargetQuestion(run="0123456789"),
        DescribeQuestion(model=SPEC.model, classes=100, size=32),
        AugmentQuestion(spec=SPEC),
    ],
    ids=lambda question: question.ask,
)
def test_a_question_arrives_as_it_was_put(question: Question) -> None:
    received = receive_blocking(io.BytesIO(pack(header_of(question) | {"id": 7}, b"image")))
    assert received is not None
    header, payload = received
    assert (header.pop("id"), payload) == (7, b"image")
    found = question_of(header)
    assert (type(found), found) == (type(question), question)


@pytest.mark.parametrize("header", [{}, {"ask": "cook"}, {"ask": "predict", "run": "0123456789"}])
def test_what_is_no_question(header: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        question_of(header)


def test_a_question_does_not_change() -> None:
    question = TargetQuestion(run="0123456789")
    with pytest.raises(ValidationError):
        question.run = "abcdef0123"  # type: ignore[misc]
