"""Sends the files that events refer to, beside the events: a large file does not delay a value."""

from __future__ import annotations

import threading
import time
from queue import Queue
from typing import Callable

from trackside.sender.delivery import WantedFile
from trackside.sender.server import Refused, Server, Unauthorized, Unreachable
from trackside.spool import SpooledSession

TIMEOUT = 120.0
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Uploads:
    """A thread with a connection of its own, which is started with the first file."""

    def __init__(self, session: SpooledSession, run_id: str, url: str, notice: Callable[[str], None]) -> None:
        self._session = session
        self._id = run_id
        self._server = Server(url, TIMEOUT)
        self._notice = notice
        self._queue: Queue[WantedFile] = Queue()
        self._known: set[str] = set()
        self._started = False
        self.progress_at = 0.0  # when bytes were last sent

    def add(self, wanted: list[WantedFile]) -> None:
        """Take over the list; each content is sent once."""
        for item in wanted:
            if item.sha256 not in self._known:
                self._known.add(item.sha256)
                self._queue.put(item)
        if wanted and not self._started:
            self._started = True
            threading.Thread(target=self._work, name="uploads", daemon=True).start()
        wanted.clear()

    def is_done(self) -> bool:
        return not self._queue.unfinished_tasks

    def _work(self) -> None:
        failures = 0
        while True:
            item = self._queue.get()
            while True:
                try:
                    self.send(item)
                    failures = 0
                    break
                except (Unreachable, Unauthorized):  # the events' connection says so
                    time.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
                    failures += 1
            self._queue.task_done()

    def _note_progress(self) -> None:
        self.progress_at = time.monotonic()

    def send(self, item: WantedFile) -> None:
        """Send one file unless the server has it. One that it refuses, or that is gone, is told and left."""
        path = self._session.files / item.sha256
        try:
            if path.is_file() and not self._server.has_file(self._id, item.sha256):
                self._server.put_file(self._id, item.sha256, path, self._note_progress)
        except Refused as error:
            self._notice(f"the server refuses {item.name}: {error}")
        except FileNotFoundError:
            self._notice(f"{item.name} is no longer in the spool and was not sent")
