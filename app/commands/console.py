"""The consoles that commands print to, and how a command fails."""

from __future__ import annotations

import typer
from rich.console import Console

console = Console(soft_wrap=True)  # lines are not wrapped, also when the output is a pipe
errors = Console(stderr=True, soft_wrap=True)


def fail(message: str) -> typer.Exit:
    """Print `message` to stderr and return the exception to raise (exit status 1)."""
    errors.print(message, style="red", markup=False)
    return typer.Exit(1)
