"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from app.environment import DeviceName


def parse_workers(text: str) -> str:
    if text != "auto" and not (text.isascii() and text.isdecimal()):
        raise typer.BadParameter(f"{text!r} is neither 'auto' nor a number of workers, as in --workers 1.")
    return text


def parse_device(text: str) -> str:
    try:
        return TypeAdapter(DeviceName).validate_python(text)
    except ValidationError:
        raise typer.BadParameter(f"{text!r} is not a device: cpu, or cuda:N for a GPU, as in cuda:0.") from None


Host = Annotated[str | None, typer.Option(help="Address to listen on: TRACKSIDE_HOST, or 127.0.0.1 by default.")]
Port = Annotated[
    int | None, typer.Option(min=0, max=65535, help="TRACKSIDE_PORT, or 8000 by default; 0 for any free one.")
]
Device = Annotated[str, typer.Option(help="cpu or cuda:N", callback=parse_device)]
