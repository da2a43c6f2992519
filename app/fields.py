"""Reusable field types of request bodies, and the base class of request bodies."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator

from trainer.spec.numbers import ambiguity

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_BREAK = re.compile(r"[\n\u2028\u2029]")


def _no_control(text: str) -> str:
    text = text.replace("\r\n", "\n")  # HTML forms submit line breaks as CRLF
    if _CONTROL.search(text):
        raise ValueError("must not contain control characters")
    return text


def _one_line(text: str) -> str:
    if _BREAK.search(text):
        raise ValueError("must be one line")
    return _no_control(text).strip()


def not_empty(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    return text


def _setting(value: Any) -> Any:
    """Validate a setting. A union would report an error per member type, instead of one for the field."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number")
    if isinstance(value, str):
        return _one_line(value)
    if isinstance(value, list) and not all(isinstance(item, int | float) and math.isfinite(item) for item in value):
        raise ValueError("must be a list of finite numbers")
    if not isinstance(value, bool | int | float | list | None):
        raise ValueError("must be a number, a text, a truth value, a list of numbers or null")
    return value


def plain_integer(value: Any) -> Any:
    """Refuse texts such as 1.000, which pydantic reads as the integer 1."""
    if isinstance(value, str) and (reason := ambiguity(value, integer=True)):
        raise ValueError(reason)
    return value


def none_if_empty(value: Any) -> Any:
    """Treat an empty parameter, as forms and templates send it, as missing."""
    return None if value == "" else value


Line = Annotated[str, Field(max_length=200), AfterValidator(_one_line)]
LongLine = Annotated[str, Field(max_length=4000), AfterValidator(_one_line)]
Text = Annotated[str, Field(max_length=20_000), AfterValidator(_no_control)]
Tag = Annotated[str, Field(max_length=60), AfterValidator(_one_line), AfterValidator(not_empty)]
Tags = Annotated[list[Tag], Field(max_length=30)]
Setting = Annotated[
    bool | int | float | str | list[int | float] | None,
    PlainValidator(_setting, json_schema_input_type=bool | int | float | str | list[int | float] | None),
]
Integer = Annotated[int, BeforeValidator(plain_integer)]
Overrides = Annotated[dict[Line, Setting], Field(max_length=100)]


class RequestBody(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
