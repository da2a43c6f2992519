"""The client's commands, so that the help and the shell's completion list them beside the server's."""

from __future__ import annotations

from typing import Any

import typer

# The client reads its own options, `--help` among them.
PASSED_ON: dict[str, Any] = {
    "add_help_option": False,
    "context_settings": {"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": False},
}


def runs(context: typer.Context) -> None:
    """List, launch, follow, stop, resume and export the runs of a server, here or on another machine."""
    raise typer.Exit(_client("runs", context))


def watch(context: typer.Context) -> None:
    """Run a script and log its output, exit code, environment and telemetry as a run."""
    raise typer.Exit(_client("watch", context))


def sync(context: typer.Context) -> None:
    """Send the script runs that a spool holds."""
    raise typer.Exit(_client("sync", context))


def import_(context: typer.Context) -> None:
    """Import event files of TensorBoard as script runs."""
    raise typer.Exit(_client("import", context))


def export(context: typer.Context) -> None:
    """Write a run as an event file of TensorBoard."""
    raise typer.Exit(_client("export", context))


def _client(name: str, context: typer.Context) -> int:
    from trackside.command import run_client

    return run_client(name, context.args)
