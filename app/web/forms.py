"""Shared by the pages' routes: validate form input, and render a template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from fastapi import Request, Response
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData

from app.errors import invalid
from trainer.spec.messages import in_words

Model = TypeVar("Model", bound=BaseModel)


def checked(model: type[Model], values: Mapping[str, Any]) -> Model:
    """The values as a model. Raises ApiError 422 with one message per invalid field."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise invalid([(item["loc"], in_words(item)) for item in error.errors(include_input=False)]) from None


def texts(form: FormData) -> dict[str, str]:
    """The form's text fields, without uploaded files."""
    return {name: value for name, value in form.items() if isinstance(value, str)}


def render(request: Request, template: str, page: Any, status: int = 200, **values: Any) -> Response:
    response: Response = request.app.state.templates.TemplateResponse(
        request, template, {"page": page, "section": getattr(page, "section", ""), **values}, status_code=status
    )
    return response
