"""The Trackside client: watch any training script on a dashboard.

    import trackside

    run = trackside.init(project="mnist", config={"lr": 1e-3})
    run.log({"train/loss": 0.5})

The calls are those of wandb where the meaning is the same: `import trackside as wandb` runs most scripts unchanged.
`trackside.Client` launches, reads and steers the runs of a server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trackside.configuration import Config
from trackside.errors import ApiError, ConfigError, Error, UsageError
from trackside.media import (
    Artifact,
    Audio,
    Graph,
    Histogram,
    Html,
    Image,
    Molecule,
    Object3D,
    Plotly,
    Table,
    Video,
)  # fmt: skip
from trackside.notices import say, say_once
from trackside.request import Wanted
from trackside.script_run import Run
from trackside.starting import RESUME as _RESUME
from trackside.starting import finish_at_exit, start
from trackside.summaries import Summary
from trackside.values import config_of as _config_of
from trackside.version import VERSION as __version__

if TYPE_CHECKING:
    from trackside.client import Client

__all__ = [
    "ApiError", "Artifact", "Audio", "Client", "Config", "ConfigError", "Error", "Graph", "Histogram", "Html", "Image",
    "Molecule", "Object3D", "Plotly", "Run", "Settings", "Summary", "Table", "UsageError", "Video", "__version__",
    "alert", "config", "define_metric", "finish", "init", "log", "log_artifact", "log_image", "log_text", "login",
    "run", "save", "setup", "summary", "termlog", "termwarn", "unwatch", "use_artifact", "watch",
]  # fmt: skip

run: Run | None
config: Config
summary: Summary

_current: Run | None = None


class Settings:
    """Accepted for scripts written for wandb; its values are passed over. TRACKSIDE_… variables set what there is."""

    def __init__(self, *_arguments: Any, **options: Any) -> None:
        vars(self).update(options)


def init(
    project: str | None = None,
    name: str | None = None,
    config: Any = None,
    group: str | None = None,
    tags: Sequence[str] | str | None = None,
    notes: str | None = None,
    resume: bool | str | None = None,
    id: str | None = None,
    mode: str | None = None,
    dir: str | None = None,
    job_type: str | None = None,
    entity: str | None = None,
    reinit: bool | str | None = None,
    settings: Any = None,
    config_exclude_keys: Sequence[str] | None = None,
    config_include_keys: Sequence[str] | None = None,
    allow_val_change: bool | None = None,
    **unknown: Any,
) -> Run:
    """Begin a run, and make it the one that `trackside.log` logs to.

    mode: "online"; "offline" (kept in the spool until `trackside sync`); "disabled".
    id: that of the run to resume, or of a new one. resume: "allow", "must" (it exists) or "never" (it does not).
    dir: the folder in which `.trackside` is.

    Raises UsageError: an argument is not valid. Raises Error: the server says that the run cannot be resumed. A server
    that cannot be reached raises nothing.
    """
    global _current
    if unknown:
        say_once(f"init: {', '.join(sorted(unknown))} is passed over.", "init arguments")
    if resume not in _RESUME:
        raise UsageError(f"resume is {resume!r}: use allow, must or never.")
    if _current is not None and not _current.disabled:
        if reinit in (True, "finish_previous"):
            _current.finish()
        elif reinit != "create_new":
            say_once("init was called before; it returns the run that has begun. Use reinit=True for a new one.")
            return _with_config(_current, config, config_exclude_keys, config_include_keys, True)
    tags = [tags] if isinstance(tags, str) else tags or []
    if job_type:
        tags = [*tags, job_type]
    wanted = Wanted(
        project=project or "", name=name or "", group=group or "", notes=notes or "", tags=tuple(map(str, tags)),
        run_id=str(id or ""), resume=_RESUME[resume], job_type=job_type or "",
    )  # fmt: skip
    begun = start(wanted, mode, dir)
    finish_at_exit(begun)
    _current = begun
    return _with_config(begun, config, config_exclude_keys, config_include_keys, allow_val_change)


def log(data: Mapping[str, Any], step: int | None = None, commit: bool | None = None, sync: bool | None = None) -> None:
    _required("log").log(data, step, commit, sync)


def log_text(text: str, key: str = "text", step: int | None = None) -> None:
    _required("log_text").log_text(text, key, step)


def log_image(key: str, image: Any = None, step: int | None = None, caption: Any = None, images: Any = None) -> None:
    _required("log_image").log_image(key, image, step, caption, images)


def save(glob_str: Any = "", base_path: str | None = None, policy: str = "now") -> list[str]:
    return _required("save").save(glob_str, base_path, policy)


def define_metric(name: str, *arguments: Any, **options: Any) -> None:
    _required("define_metric").define_metric(name, *arguments, **options)


def alert(title: str, text: str = "", **options: Any) -> None:
    _required("alert").alert(title, text, **options)


def log_artifact(*arguments: Any, **options: Any) -> None:
    _required("log_artifact").log_artifact(*arguments, **options)


use_artifact = log_artifact


def finish(exit_code: int | None = None, quiet: bool | None = None) -> None:
    """End the current run, if there is one."""
    global _current
    if _current is not None:
        _current.finish(exit_code, quiet)
        _current = None


def watch(*_arguments: Any, **_options: Any) -> None:
    """Does nothing: gradients and weights are not recorded."""


unwatch = watch


def login(*_arguments: Any, **_options: Any) -> bool:
    """Accepted for scripts written for wandb: the token is TRACKSIDE_TOKEN."""
    return True


def setup(*_arguments: Any, **_options: Any) -> None:
    """Does nothing."""


def termlog(string: str = "", *_arguments: Any, **_options: Any) -> None:
    say(string)


termwarn = termerror = termlog


def _required(call: str) -> Run:
    if _current is None:
        raise Error(f"call trackside.init() before trackside.{call}().")
    return _current


def _with_config(
    begun: Run, values: Any, left_out: Sequence[str] | None, only: Sequence[str] | None, change: bool | None
) -> Run:
    if isinstance(values, str):
        say_once("init: a config file is passed over: give its values as a dictionary.")
        return begun
    chosen: dict[str, Any] = {
        name: value
        for name, value in _config_of(values).items()
        if name not in (left_out or ()) and (not only or name in only)
    }
    begun.config.update(chosen, allow_val_change=change)
    return begun


def __getattr__(name: str) -> Any:
    if name == "run":
        return _current
    if name == "Client":  # HTTP and TLS, which a script that only logs does not load
        from trackside.client import Client

        return Client
    if name in ("config", "summary"):
        return getattr(_required(name), name)
    raise AttributeError(f"module 'trackside' has no attribute {name!r}")
