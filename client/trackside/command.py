"""The command `trackside`: the client's own commands, and those of the server where it is installed."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
CLIENT_COMMANDS = {
    "runs": "list, launch, follow, stop, resume and export the runs of a server",
    "watch": "run a script and log its output, exit code, environment and telemetry",
    "sync": "send the runs that a spool holds",
    "import": "import runs of TensorBoard, W&B and MLflow from their files",
    "export": "write a run as event files of TensorBoard",
}
MODULES = {
    "runs": "trackside.run_commands",
    "watch": "trackside.watching",
    "sync": "trackside.syncing",
    "import": "trackside.importing",
    "export": "trackside.tensorboard.exporting",
}


def main() -> None:
    words = sys.argv[1:]
    if words and words[0] in CLIENT_COMMANDS:
        sys.exit(run_client(words[0], words[1:]))
    folder = server_folder()
    if folder is None:
        sys.exit(_without_server(words))
    use_server(folder)
    importlib.import_module("app.cli").main()


def run_client(name: str, words: list[str]) -> int:
    """Run a command of the client, and return its exit code."""
    return int(importlib.import_module(MODULES[name]).main(words))


def server_folder() -> Path | None:
    """Return the folder that holds the packages `app` and `trainer`; None if only the client is installed.

    In a wheel they are not at the top level of site-packages, where names as common as `app` are other people's.
    """
    inside, checkout = HERE / "_server", HERE.parents[1]
    return next((folder for folder in (inside, checkout) if (folder / "app" / "cli.py").is_file()), None)


def use_server(folder: Path) -> None:
    """Make `app` and `trainer` importable, here and in the processes that this one starts with `python -m`."""
    sys.path.insert(0, str(folder))
    others = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{folder}{os.pathsep}{others}" if others else str(folder)
    os.environ["PYTHONSAFEPATH"] = "1"  # an app.py in the working directory is not ours


def _without_server(words: list[str]) -> int:
    from trackside.version import VERSION

    if words == ["--version"]:
        print(f"trackside-client {VERSION}")  # noqa: T201
        return 0
    wide = max(map(len, CLIENT_COMMANDS))
    lines = [
        "Usage: trackside COMMAND …", "", *(f"  {name:{wide}}  {text}" for name, text in CLIENT_COMMANDS.items()), "",
        "This is the client alone. For serve, train and the other commands: pip uninstall trackside-client, then",
        "pip install trackside (it contains the client).",
    ]  # fmt: skip
    wanted_help = not words or words[0] in ("-h", "--help", "help")
    print("\n".join(lines), file=sys.stdout if wanted_help else sys.stderr)
    return 0 if wanted_help else 2
