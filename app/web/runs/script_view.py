"""The template context of the page of a script run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from app.display.formatting import duration, metric, short
from app.runs.attempts import Attempt
from app.runs.public import LogLinePublic, RunPublic, took
from app.runs.script_data import MediaName, MediaPublic, ScriptPublic
from app.runs.values import flat
from app.web.runs.cards import Card
from app.web.runs.rows import failed_at

MOST_SERIES = 2_000  # that the page knows of
MOST_SETTINGS = 1_000  # that are shown one by one
TABS = (("curves", "Curves"), ("media", "Media"), ("log", "Log"), ("setup", "Setup & files"))
PLACES = ("command", "host", "cwd", "pid", "python", "system", "cpu", "gpus")


@dataclass(frozen=True)
class Git:
    commit: str
    branch: str
    diff: str


@dataclass(frozen=True)
class ScriptPageView:
    """`/runs/{id}` of a script run. `count_series` are those that match `filter`; `series` are the first of them.

    `media` are the images and texts of `shown_media` at its step.
    """

    run: RunPublic
    tab: str
    has_media: bool = False
    tail: tuple[LogLinePublic, ...] = ()
    lines: tuple[LogLinePublic, ...] = ()
    cards: tuple[Card, ...] = ()
    series: tuple[str, ...] = ()
    count_series: int = 0
    filter: str = ""
    attempts: tuple[Attempt, ...] = ()
    script: ScriptPublic | None = None
    media_names: tuple[MediaName, ...] = ()
    media: Mapping[str, Sequence[MediaPublic]] = field(default_factory=dict)
    section: str = "runs"

    @property
    def tabs(self) -> tuple[tuple[str, str], ...]:
        """The Media tab is absent until an image or a text was logged."""
        return tuple((name, label) for name, label in TABS if name != "media" or self.has_media)

    @property
    def title(self) -> str:
        return self.run.name

    @property
    def losses(self) -> tuple[tuple[str, str, str], ...]:
        """The training and the validation loss: (split, series, latest value)."""
        names = self.run.spark.get("names") or {}
        found = []
        for split in ("train", "val"):
            name = names.get(split) or ""
            value = self.run.summary.get(name)
            text = short(value) if isinstance(value, int | float) else str(value or "")
            found.append((split, name, text))
        return tuple(found)

    @property
    def logged(self) -> str:
        return orjson.dumps({"series": self.series, "attempts": self.attempts}).decode()

    @property
    def took(self) -> str:
        return duration(took(self.run))

    @property
    def failed_at(self) -> str:
        return failed_at(self.run)

    @property
    def failure_detail(self) -> str:
        detail = None if self.run.error is None else self.run.error.detail
        return detail if isinstance(detail, str) else ""

    @property
    def summary(self) -> tuple[tuple[str, str], ...]:
        """The latest values of the series and what the script said at its end, by name."""
        values = sorted(self.run.summary.items())
        return tuple((name, metric(name, value) if _is_number(value) else _text(value)) for name, value in values)

    @property
    def settings(self) -> tuple[tuple[str, str], ...]:
        """The configuration by dotted names, as texts."""
        config = {} if self.script is None else self.script.config
        return tuple((name, _text(value)) for name, value in flat(config))

    @property
    def command(self) -> str:
        """The command as it is typed into a shell."""
        command = self._environment.get("command")
        if isinstance(command, list):
            return shlex.join(map(str, command))
        return command if isinstance(command, str) else ""

    @property
    def git(self) -> Git | None:
        found = self._environment.get("git")
        if not isinstance(found, dict) or not found.get("commit"):
            return None
        return Git(str(found["commit"]), str(found.get("branch") or ""), str(found.get("diff") or ""))

    @property
    def packages(self) -> tuple[str, ...]:
        """The installed packages, as `name==version`."""
        found = self._environment.get("packages")
        if isinstance(found, dict):
            return tuple(f"{name}=={version}" for name, version in sorted(found.items()))
        return tuple(map(str, found)) if isinstance(found, list) else ()

    @property
    def places(self) -> tuple[tuple[str, str], ...]:
        """Where the script runs, without what is shown by itself."""
        shown = {"command", "git", "packages"}
        known = [name for name in PLACES if name in self._environment]
        others = sorted(name for name in self._environment if name not in known)
        return tuple(
            (name, _text(self._environment[name]))
            for name in (*known, *others)
            if name not in shown and self._environment[name] not in (None, "", [], {})
        )

    @property
    def _environment(self) -> Mapping[str, Any]:
        return {} if self.script is None else self.script.environment


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return ", ".join(map(str, value))
    return orjson.dumps(value).decode()
