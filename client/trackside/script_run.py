"""A run, as a script sees it: logs to the spool, and never stops or slows the script that it watches."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trackside.configuration import Config
from trackside.errors import UsageError
from trackside.events import EventFile
from trackside.history import History
from trackside.link import Link
from trackside.media import MAX_BYTES, Image, PassedOver, is_picture
from trackside.notices import say, say_once
from trackside.outcome import error_of, exit_code_of
from trackside.saving import copy_into, keep_bytes
from trackside.series import latest_values
from trackside.spool import SpooledSession
from trackside.summaries import Summary
from trackside.values import clean, to_json

DESCRIBED_SECONDS = 3.0
TEXT_LIMIT = 100_000  # characters of one text

_ALIVE: weakref.WeakSet[Run] = weakref.WeakSet()


class Run:
    """Made by `trackside.init`. Without a session (another rank, mode "disabled") it does nothing.

    `log`, `config` and `summary` may be used from any thread. A forked child (a DataLoader's worker) never writes.
    """

    def __init__(
        self,
        run_id: str,
        name: str,
        project: str,
        url: str,
        session: SpooledSession | None = None,
        first_step: int = 0,
        attached: bool = False,
    ) -> None:
        self.id = run_id
        self.name = name
        self.project = project
        self.url = url
        self.entity = ""
        self.group = ""
        self.tags: tuple[str, ...] = ()
        self.notes = ""
        self.job_type = ""
        self.resumed = first_step > 0
        self.starting_step = first_step
        self.offline = False
        self.finish_seconds = 0.0
        self.stopping = False
        self.error: dict[str, Any] | None = None
        self._lock = threading.RLock()
        self._session = session
        self._attached = attached
        self._link: Link | None = None
        self._began = time.monotonic()
        self._events: EventFile | None = None
        self._history: History | None = None
        if session is not None:
            self._events = EventFile(session.events)
            self._history = History(self._events, session.session, first_step, self._log_media)
        self.config = Config(lambda values: self._emit("config", v=values))
        self.summary = Summary(lambda values: self._emit("summary", v=values), self._latest)
        _ALIVE.add(self)

    @property
    def step(self) -> int:
        """The step that `log` uses next without `step=`."""
        return self._history.step if self._history is not None else 0

    @property
    def disabled(self) -> bool:
        return self._events is None

    @property
    def dir(self) -> str:
        """A folder whose files are saved when the run finishes."""
        folder = (self._session.folder if self._session is not None else Path(".trackside") / self.id) / "dir"
        if self._session is not None:
            folder.mkdir(parents=True, exist_ok=True)
        return str(folder)

    def log(
        self,
        data: Mapping[Any, Any],
        step: int | None = None,
        commit: bool | None = None,
        sync: bool | None = None,
    ) -> None:
        """Log values at a step: `step`, or the one after the last. `commit=False` stays at the step for more values.

        When it returns, the values are in the spool: no crash of the script can lose them.
        """
        if self._history is None:
            return
        if not isinstance(data, Mapping):
            raise UsageError(f"log takes a dictionary, not a {type(data).__name__}.")
        if step is not None and type(step) is not int:
            step = int(step)
        if step is not None and step < 0:
            say_once(f"step {step} is negative: its values are passed over.", "negative")
            return
        with self._lock:
            self._history.add(data, step, commit)

    def log_text(self, text: str, key: str = "text", step: int | None = None) -> None:
        self._emit("text", step=self.step if step is None else int(step), key=clean(key), text=clean(text)[:TEXT_LIMIT])

    def log_line(self, line: str) -> None:
        """Add a line to the run's log."""
        self._emit("log", line=clean(line)[:TEXT_LIMIT])

    def log_image(
        self,
        key: str,
        image: Any = None,
        step: int | None = None,
        caption: str | list[str] | None = None,
        images: list[Any] | None = None,
    ) -> None:
        """Log one image or several: whatever `Image` accepts."""
        given = list(images) if images is not None else list(image) if isinstance(image, (list, tuple)) else [image]
        captions = [caption] * len(given) if caption is None or isinstance(caption, str) else list(caption)
        at = self.step if step is None else int(step)
        for index, (item, text) in enumerate(zip(given, captions)):
            self._add_image(key, Image(item, caption=text), at, index)

    def save(
        self, glob_str: str | os.PathLike[str] = "", base_path: str | None = None, policy: str = "now"
    ) -> list[str]:
        """Save the files that `glob_str` names with the run, as they are now. Return their paths."""
        if self._session is None or not str(glob_str):
            return []
        saved = []
        for kept in copy_into(self._session, str(glob_str), base_path):
            self._emit("file", path=clean(kept.name), sha256=kept.sha256, size=kept.size)
            saved.append(kept.source)
        if not saved:
            say_once(f"save: no file matches {glob_str}")
        return saved

    def define_metric(
        self,
        name: str,
        step_metric: Any = None,
        step_sync: bool | None = None,
        hidden: bool | None = None,
        summary: str | None = None,
        goal: str | None = None,
        overwrite: bool | None = None,
    ) -> None:
        """`step_metric`: the series whose value is the step of `name` (`*` at its end stands for anything).

        `summary`: "min", "max" or "mean" as well as the latest value; "best" is "min" or "max" by `goal`.
        """
        if self._history is None:
            return
        wanted = {part.strip() for part in (summary or "").split(",")}
        if "best" in wanted:
            wanted.add("max" if goal and goal.startswith("max") else "min")
        figure = next((kind for kind in ("min", "max", "mean") if kind in wanted), "")
        axis = getattr(step_metric, "name", step_metric)
        with self._lock:
            self._history.rules.define(name, None if axis is None else str(axis), figure)

    def watch(self, *_arguments: Any, **_options: Any) -> None:
        """Does nothing: gradients and weights are not recorded."""

    unwatch = mark_preempting = log_code = watch

    def alert(self, title: str, text: str = "", **_options: Any) -> None:
        self.log_text(f"{title}\n{text}".strip(), key="alert")

    def _log_artifact(self, *_arguments: Any, **_options: Any) -> None:
        say_once("artifacts are passed over: save files with save(path).", "Artifact")

    log_artifact = use_artifact = link_artifact = log_model = _log_artifact

    def status(self) -> None:
        say(f"run {self.id} at step {self.step}: {self.url}")

    def finish(self, exit_code: int | None = None, quiet: bool | None = None) -> None:
        """End the run: finished, failed if `exit_code` is not 0. Waits a limited time until everything is sent."""
        if self._link is not None:
            self._link.wait_described(DESCRIBED_SECONDS)
        with self._lock:
            if self._events is None or self._session is None:
                return
            self._save_folder()
            events, self._events = self._events, None
            if self._attached:  # the run ends with the command that is watched
                if aggregates := self._aggregates():
                    events.emit("summary", v=aggregates)
            else:
                self._end(events, exit_code)
            self._history = None
            events.close()
        if self._link is not None and not self.offline:
            self._report(self._link.wait(self.finish_seconds), quiet)
            return
        if self._link is not None:
            self._link.wait(0.0)
        if not self._attached and not quiet:
            say(f"run {self.id} is in {self._session.folder}. To send it: trackside sync {self._session.folder.parent}")

    join = finish

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, _trace: Any) -> None:
        if kind is not None and self.error is None and value is not None:
            self.error = error_of(value)
            self.stopping = self.stopping or isinstance(value, KeyboardInterrupt)
            self.finish(exit_code_of(value))
            return
        self.finish()

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("a run cannot be iterated over")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("_events", "_history", "_session", "_link", "_lock"):
            raise AttributeError(name)
        if name.startswith(("_repr", "_ipython")):  # what notebooks ask for
            raise AttributeError(name)
        if name.startswith("_"):  # wandb's own, as `_label`, which libraries call
            return lambda *_arguments, **_options: None
        raise AttributeError(f"a Trackside run has no {name!r}")

    def _save_folder(self) -> None:
        """Save what is in `dir`."""
        if self._session is not None and (self._session.folder / "dir").is_dir():
            for path in sorted(Path(self.dir).rglob("*")):
                if path.is_file():
                    self.save(str(path), base_path=self.dir)

    def _end(self, events: EventFile, exit_code: int | None) -> None:
        status = "stopped" if self.stopping else "failed" if exit_code else "finished"
        fields: dict[str, Any] = {"status": status}
        if exit_code is not None:
            fields["exit_code"] = int(exit_code)
        if self.error is not None and status == "failed":
            fields["error"] = self.error
        if aggregates := self._aggregates():
            fields["summary"] = aggregates
        events.emit("end", **fields)

    def _aggregates(self) -> dict[str, Any]:
        series = self._history.series.values() if self._history is not None else ()
        found = {f"{item.name}.{item.goal}": item.aggregate() for item in series if item.goal}
        return {name: to_json(value) for name, value in found.items() if value is not None}

    def _report(self, outcome: dict[str, Any], quiet: bool | None) -> None:
        if quiet or self._session is None or outcome.get("outcome") == "refused":
            return
        if outcome.get("outcome") == "sent":
            say(f"run {self.id} is complete: {self.url}")
        else:
            say(
                f"run {self.id} is not sent completely yet; it is kept in {self._session.folder} and sent in the "
                f"background. If this machine goes away before: trackside sync {self._session.folder.parent}"
            )

    def _latest(self) -> Mapping[str, Any]:
        return latest_values(self._history.series) if self._history is not None else {}

    def _emit(self, kind: str, **fields: Any) -> None:
        with self._lock:
            if self._events is not None:
                self._events.emit(kind, **fields)

    def _log_media(self, key: str, value: Any, step: int) -> None:
        if value is None:
            return
        if isinstance(value, str):
            self.log_text(value, key, step)
        elif isinstance(value, Image):
            self._add_image(key, value, step, 0)
        elif isinstance(value, (list, tuple)) and value and all(isinstance(item, Image) for item in value):
            for index, item in enumerate(value):
                self._add_image(key, item, step, index)
        elif not isinstance(value, PassedOver) and is_picture(value):
            self._add_image(key, Image(value), step, 0)
        else:
            kind = type(value).__name__
            reason = "is not recorded" if isinstance(value, PassedOver) else "is not a number, a text or an image"
            say_once(f"{key!r}: a {kind} {reason}: passed over, as all values of this type.", f"type {kind}")

    def _add_image(self, key: str, image: Image, step: int, index: int) -> None:
        if self._session is None:
            return
        if len(image.data) > MAX_BYTES:
            say_once(f"{key!r}: an image of {len(image.data) >> 20} MiB is passed over: at most 20 MiB each.", "image")
            return
        sha256 = keep_bytes(self._session, image.data)
        fields = {"step": step, "key": clean(key), "index": index, "sha256": sha256, "size": len(image.data)}
        caption = {} if image.caption is None else {"caption": clean(image.caption)[:1000]}
        self._emit("image", **fields, format=image.format, **caption)

    def _forget(self) -> None:
        """In a forked child: never write, and keep nothing of the parent's open."""
        self._lock = threading.RLock()
        events, self._events, self._history = self._events, None, None
        if events is not None:
            events.close()
        if self._link is not None:
            self._link.forget()
            self._link = None


def _after_fork() -> None:
    for run in list(_ALIVE):
        run._forget()


os.register_at_fork(after_in_child=_after_fork)
