"""A logger for Lightning, with the arguments of its WandbLogger: `Trainer(logger=TracksideLogger(project="mnist"))`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

import trackside
from trackside.script_run import Run
from trackside.values import config_of

try:
    from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
    from lightning.pytorch.utilities.rank_zero import rank_zero_only
except ImportError:  # the package under its older name
    from pytorch_lightning.loggers.logger import Logger, rank_zero_experiment
    from pytorch_lightning.utilities.rank_zero import rank_zero_only


class TracksideLogger(Logger):
    """Logs to the run of this process, which is begun at the first use. Values keep Lightning's global step."""

    LOGGER_JOIN_CHAR = "-"

    def __init__(
        self,
        name: str | None = None,
        save_dir: str | None = None,
        version: str | None = None,
        offline: bool = False,
        dir: str | None = None,
        id: str | None = None,
        project: str | None = None,
        log_model: bool | str = False,
        experiment: Run | None = None,
        prefix: str = "",
        **options: Any,
    ) -> None:
        super().__init__()
        self._experiment = experiment
        self._prefix = f"{prefix}{self.LOGGER_JOIN_CHAR}" if prefix else ""
        self._save_dir = save_dir or dir
        self._log_model = log_model
        self._arguments: dict[str, Any] = {
            "name": name,
            "project": project,
            "id": version or id,
            "dir": self._save_dir,
            **options,
        }
        if offline:
            self._arguments["mode"] = "offline"

    @property
    @rank_zero_experiment  # type: ignore[untyped-decorator]
    def experiment(self) -> Run:
        """The run, as `trackside.init` returns it."""
        if self._experiment is None:
            self._experiment = trackside.run or trackside.init(**self._arguments)
        return self._experiment

    @property
    def name(self) -> str | None:
        """As in WandbLogger, the project: checkpoints are kept below it."""
        project: str | None = self._arguments["project"]
        return project

    @property
    def version(self) -> str | None:
        return self._experiment.id if self._experiment is not None else self._arguments["id"]

    @property
    def save_dir(self) -> str | None:
        return self._save_dir

    def watch(self, *_arguments: Any, **_options: Any) -> None:
        """Does nothing: gradients and weights are not recorded."""

    @rank_zero_only  # type: ignore[untyped-decorator]
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace, *_arguments: Any, **_options: Any) -> None:
        self.experiment.config.update(config_of(params), allow_val_change=True)

    @rank_zero_only  # type: ignore[untyped-decorator]
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.experiment.log({f"{self._prefix}{name}": value for name, value in metrics.items()}, step=step)

    @rank_zero_only  # type: ignore[untyped-decorator]
    def log_image(self, key: str, images: list[Any], step: int | None = None, **options: Any) -> None:
        self.experiment.log_image(f"{self._prefix}{key}", images=images, step=step, caption=options.get("caption"))

    @rank_zero_only  # type: ignore[untyped-decorator]
    def log_text(self, key: str, *_arguments: Any, **_options: Any) -> None:
        self.experiment.log({key: trackside.Table()})

    log_table = log_text

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        if self._log_model == "all":
            self.experiment.save(checkpoint_callback.last_model_path or checkpoint_callback.best_model_path)

    @rank_zero_only  # type: ignore[untyped-decorator]
    def finalize(self, status: str) -> None:
        """The run goes on until the script ends, since a test may follow."""
        callback = getattr(getattr(self, "_trainer", None), "checkpoint_callback", None)
        if self._log_model is True and callback is not None and callback.best_model_path:
            self.experiment.save(callback.best_model_path)


WandbLogger = TracksideLogger
