"""The consoles that commands print to, and how a command fails."""

from __future__ import annotations

import typer
from rich.console import Console

console = Console(soft_wrap=True)  # a pipe gets whole lines
errors = Console(stderr=True, soft_wrap=True)


def fail(message: str) -> typer.Exit:
    errors.print(message, style="red", markup=False)
    return typer.Exit(1)
