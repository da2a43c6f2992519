"""What is wrong with a value, in words; pydantic's own messages speak of parsing and types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NUMBER, WHOLE = "must be a number, such as 0.1 or 1e-3", "must be a whole number"
MESSAGES = {
    "float_parsing": NUMBER,
    "float_type": NUMBER,
    "finite_number": NUMBER,
    "int_parsing": WHOLE,
    "int_parsing_size": WHOLE,
    "int_from_float": WHOLE,
    "int_type": WHOLE,
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list of numbers, separated by commas",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "string_type": "must be text",
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "must be {expected}",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must not be empty",
    "too_long": "must have at most {max_length} values",
}


def in_words(item: Mapping[str, Any]) -> str:
    """Return the message for an item of a ValidationError's `errors()`; pydantic's own where there is none."""
    message = MESSAGES.get(item["type"])
    if message is None:
        return str(item["msg"]).removeprefix("Value error, ")
    return message.format(**item.get("ctx", {}))
