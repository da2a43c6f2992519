"""`trackside import`: runs that other tools have written to files become script runs."""

from __future__ import annotations

import argparse
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable

from trackside.imports.content import Content
from trackside.imports.items import Described, Ending, Source, Unusable
from trackside.imports.sending import Delivery
from trackside.mlflow_files import source as mlflow_files
from trackside.notices import say
from trackside.options import read_options
from trackside.request import description_of
from trackside.sender.server import Refused, Server, Unauthorized, Unreachable
from trackside.tensorboard import source as tensorboard
from trackside.wandb_files import source as wandb_files

LOOK_SECONDS = 1.0
BEAT_SECONDS = 5.0
RETRY_SECONDS = 5.0


@dataclass(frozen=True)
class Kind:
    """A tool. `find` looks for its runs at or below a path; `looked_for` says for what."""

    find: Callable[[Path, str], Sequence[Source]]
    looked_for: str


KINDS = {
    "tensorboard": Kind(tensorboard.find, f"event files ({tensorboard.PATTERN})"),
    "wandb": Kind(wandb_files.find, wandb_files.LOOKED_FOR),
    "mlflow": Kind(mlflow_files.find, mlflow_files.LOOKED_FOR),
}
FOLLOWED = ("tensorboard",)


class Followed:
    """One run: its lines, and how they are sent."""

    def __init__(self, server: Server, source: Source, project: str) -> None:
        """Read the source. Raises Unusable."""
        self.content = Content(source)
        try:
            self.content.read()
            described = source.described()
        except Unusable:
            self.content.close()
            raise
        self.name = described.wanted.name
        self.delivery = Delivery(server, self.content, described.id, _request(described, project))


class Import:
    """The runs at or below a path."""

    def __init__(self, find: Callable[[], Sequence[Source]], url: str, project: str) -> None:
        self.server = Server(url, 60.0)
        self._find = find
        self._project = project
        self._runs: dict[str, Followed] = {}  # by the paths of their sources
        self._done: set[str] = set()  # stopped on the dashboard, deleted, or refused

    def close(self) -> None:
        self.server.close()
        for run in self._runs.values():
            run.content.close()

    def once(self) -> bool:
        """Import one run after the other, each to its end. Return whether the server has accepted all."""
        accepted = True
        for source in self._find():
            try:
                run = Followed(self.server, source, self._project)
            except Unusable as error:
                say(f"{source.path} is not imported: {error}")
                accepted = False
                continue
            try:
                sent = run.delivery.send()
                run.delivery.end()
                self._report(run, sent)
            except Refused as error:
                say(f"{source.path} is not imported: {error}")
                accepted = False
            finally:
                run.content.close()
        return accepted

    def look(self) -> None:
        """Send what is new in all runs, also in those that are new. The runs go on."""
        for source in self._find():
            if source.path in self._done:
                continue
            try:
                self._follow(source)
            except (Refused, Unusable) as error:
                say(f"{source.path} is not followed any further: {error}")
                self._done.add(source.path)

    def finish(self) -> None:
        """End the runs that are followed."""
        for path, run in self._runs.items():
            if path not in self._done:
                run.delivery.end()
                self._report(run, run.content.points)

    def _follow(self, source: Source) -> None:
        is_first = source.path not in self._runs
        if is_first:
            self._runs[source.path] = Followed(self.server, source, self._project)
        run = self._runs[source.path]
        run.content.read()
        sent = run.delivery.send()
        if is_first:
            say(f"{run.name}: run {run.delivery.id} is followed. Ctrl-C ends it.")
        if not sent and time.monotonic() - run.delivery.heard_at > BEAT_SECONDS:
            run.delivery.beat()
        if run.delivery.stop:
            run.delivery.end(Ending("stopped"))
            say(f"{run.name} was stopped from the dashboard and is not followed any further.")
            self._done.add(source.path)

    def _report(self, run: Followed, sent: int) -> None:
        outcome = f"{run.content.points:,} values" if sent else "nothing is new"
        say(f"{run.name}: {outcome}, {self.server.url}/runs/{run.delivery.id}")
        if run.delivery.replaced:
            say(f"{run.name}: its files are no longer what was imported with additions. All of it was imported anew.")
        if left_out := run.content.left_out_in_words():
            say(f"{run.name}: left out {left_out}.")


def main(words: list[str]) -> int:
    """Return 0 if all was imported."""
    asked = _parse(words)
    kind, root = KINDS[asked.kind], Path(asked.folder).resolve()
    try:
        is_any = asked.follow or kind.find(root, asked.name)
    except Unusable as error:
        say(str(error))
        return 1
    if not is_any:
        say(f"{root} holds no {kind.looked_for}.")
        return 1
    found = Import(lambda: kind.find(root, asked.name), read_options().url, asked.project)
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


def _request(described: Described, project: str) -> dict[str, Any]:
    """The body of the PUT that announces a session, without what is the session's own."""
    wanted = replace(described.wanted, project=project or described.wanted.project)
    return {**description_of(wanted), "script": described.script}


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="trackside import",
        description="Import runs that other tools have written to files. Importing a path again adds what is new.",
    )
    parser.add_argument("kind", choices=list(KINDS), help="the tool that has written them")
    parser.add_argument("folder", metavar="DIR", help="the directory, with the folders below it, or one file")
    parser.add_argument("--follow", action="store_true", help="go on with what is added, until Ctrl-C (tensorboard)")
    parser.add_argument("--project", default="", help="the project of the runs, in place of the one in the files")
    parser.add_argument("--name", default="", help="a name in place of that of the directory or the run")
    asked = parser.parse_args(words)
    if asked.follow and asked.kind not in FOLLOWED:
        parser.error(f"--follow is for {', '.join(FOLLOWED)}: repeat the import to add what is new.")
    return asked
