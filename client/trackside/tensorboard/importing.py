"""`trackside import`: event files of TensorBoard become script runs."""

from __future__ import annotations

import argparse
import hashlib
import signal
import socket
import threading
import time
from pathlib import Path

from trackside.notices import say
from trackside.options import read_options
from trackside.request import LINE
from trackside.sender.server import Refused, Server, Unauthorized, Unreachable
from trackside.tensorboard.content import PATTERN, Content, directories
from trackside.tensorboard.sending import Delivery
from trackside.values import one_line

LOOK_SECONDS = 1.0
BEAT_SECONDS = 5.0
RETRY_SECONDS = 5.0


class Import:
    """The runs of a directory, by their folders."""

    def __init__(self, root: Path, url: str, project: str, name: str) -> None:
        self.root = root
        self.server = Server(url, 60.0)
        self._project = project
        self._name = name
        self._runs: dict[Path, tuple[Content, Delivery]] = {}
        self._done: set[Path] = set()  # stopped on the dashboard, deleted, or refused

    def close(self) -> None:
        self.server.close()
        for content, _ in self._runs.values():
            content.close()

    def once(self) -> bool:
        """Import one directory after the other, each to its end. Return whether the server has accepted all."""
        accepted = True
        for folder in directories(self.root):
            content, delivery = self._open(folder)
            try:
                content.read()
                sent = delivery.send()
                delivery.end()
                self._report(content, delivery, sent)
            except Refused as error:
                say(f"{folder} is not imported: {error}")
                accepted = False
            finally:
                content.close()
        return accepted

    def look(self) -> None:
        """Send what is new in all directories, also in those that are new. The runs go on."""
        for folder in directories(self.root):
            if folder in self._done:
                continue
            if folder not in self._runs:
                self._runs[folder] = self._open(folder)
            try:
                self._follow(folder, *self._runs[folder])
            except Refused as error:
                say(f"{folder} is not followed any further: {error}")
                self._done.add(folder)

    def finish(self) -> None:
        """End the runs that are followed."""
        for folder, (content, delivery) in self._runs.items():
            if folder not in self._done:
                delivery.end()
                self._report(content, delivery, content.points)

    def _follow(self, folder: Path, content: Content, delivery: Delivery) -> None:
        is_first = not content.size
        content.read()
        sent = delivery.send()
        if is_first:
            say(f"{self._name_of(folder)}: run {delivery.id} is followed. Ctrl-C ends it.")
        if not sent and time.monotonic() - delivery.heard_at > BEAT_SECONDS:
            delivery.beat()
        if delivery.stop:
            delivery.end("stopped")
            say(f"{self._name_of(folder)} was stopped from the dashboard and is not followed any further.")
            self._done.add(folder)

    def _open(self, folder: Path) -> tuple[Content, Delivery]:
        content = Content(folder)
        request = {
            "name": one_line(self._name_of(folder), LINE),
            "group": one_line(self._name or self.root.name, LINE),
            "project": one_line(self._project, LINE),
            "script": {"command": ["trackside", "import", "tensorboard", str(folder)], "host": socket.gethostname()},
        }
        kept = {key: value for key, value in request.items() if value}
        return content, Delivery(self.server, content, run_id_of(folder), kept)

    def _name_of(self, folder: Path) -> str:
        """The path below the directory; its own name for the directory itself."""
        below = folder.relative_to(self.root).as_posix()
        if below == ".":
            return self._name or self.root.name
        return f"{self._name}/{below}" if self._name else below

    def _report(self, content: Content, delivery: Delivery, sent: int) -> None:
        name = self._name_of(content.folder)
        outcome = f"{content.points:,} values" if sent else "nothing is new"
        say(f"{name}: {outcome}, {self.server.url}/runs/{delivery.id}")
        if delivery.replaced:
            say(f"{name}: its files are no longer what was imported with additions. All of it was imported anew.")
        if left_out := content.left_out_in_words():
            say(f"{name}: left out {left_out}.")


def run_id_of(folder: Path) -> str:
    """The id of a directory's run: from its absolute path and the name of its first event file.

    That name holds the time and the machine, so that the same path on another machine is another run.
    """
    first = min(path.name for path in folder.glob(PATTERN) if path.is_file())
    known = f"{folder.resolve()}\0{first}".encode("utf-8", "surrogateescape")
    return f"tb-{hashlib.sha256(known).hexdigest()[:20]}"


def main(words: list[str]) -> int:
    """Return 0 if all was imported."""
    asked = _parse(words)
    root = Path(asked.folder).resolve()
    if not asked.follow and not directories(root):
        say(f"{root} holds no event files ({PATTERN}).")
        return 1
    found = Import(root, read_options().url, asked.project, asked.name)
    try:
        return _follow(found) if asked.follow else int(not found.once())
    except Unauthorized as error:
        say(f"the server refuses the token: {error}. Set TRACKSIDE_TOKEN.")
    except (Unreachable, OSError) as error:
        say(f"{error}. Repeat the command to go on: nothing is imported twice.")
    except KeyboardInterrupt:
        return 130
    finally:
        found.close()
    return 1


def _follow(found: Import) -> int:
    """Follow until Ctrl-C or SIGTERM, which take effect between two requests; a second one at once."""
    ending = threading.Event()

    def end(number: int, _frame: object) -> None:
        signal.signal(number, signal.default_int_handler)
        ending.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    is_reached = True
    while not ending.is_set():
        try:
            found.look()
            if not is_reached:
                say("the server is reached again.")
            is_reached = True
        except Unreachable as error:
            if is_reached:
                say(f"the server cannot be reached ({error}). It is tried again.")
            is_reached = False
        ending.wait(LOOK_SECONDS if is_reached else RETRY_SECONDS)
    found.finish()
    return 0


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="trackside import",
        description="Import event files of TensorBoard: a run for each folder that holds some. "
        "Importing a directory again adds what is new.",
    )
    parser.add_argument("kind", choices=["tensorboard"])
    parser.add_argument("folder", metavar="DIR", help="the directory; the folders below it are imported, too")
    parser.add_argument("--follow", action="store_true", help="go on with what is added, until Ctrl-C")
    parser.add_argument("--project", default="", help="the project of the runs")
    parser.add_argument("--name", default="", help="a name in place of that of the directory")
    return parser.parse_args(words)
