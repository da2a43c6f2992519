"""What is wrong with a value, in words."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from app.runs.requests import NewRun
from app.runs.variants import Between
from trainer.spec.messages import in_words


class Nested(BaseModel):
    model_config = ConfigDict(extra="forbid")

    count: int
    choices: list[str] | Between = []


@pytest.mark.parametrize(
    ("kind", "given", "messages"),
    [
        (Nested, {"count": "x"}, ["must be a whole number"]),
        (Nested, {}, ["is missing"]),
        (Nested, {"count": 1, "extra": 2}, ["is not known here"]),
        (Nested, {"count": 1, "choices": 3}, ["must be a list", "must be an object"]),
        (Nested, {"count": 1, "choices": [3]}, ["must be text", "must be an object"]),
        (Nested, [], ["must be an object"]),
        (NewRun, {"dataset": "d", "preset": 7}, ["must be text"]),
        (dict[str, int], 3, ["must be an object"]),
    ],
)
def test_messages_speak_of_values_and_not_of_types(kind: Any, given: object, messages: list[str]) -> None:
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(kind).validate_python(given)
    assert [in_words(item) for item in raised.value.errors()] == messages
